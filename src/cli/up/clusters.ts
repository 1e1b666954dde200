// Several clusters on this machine, each with a pool of its own, behind one Worker.
//
//   clients ──► front ──► Worker ──► link ──► relay-cluster-1 ──► engines-cluster-1
//                  ▲      directory            collector-cluster-1      │
//                  └───────────────── link ◄────┴───── metrics ◄───────┘
//
// Both ways between a cluster and the Worker lead through links with the cluster's round-trip time: one for
// requests, one for what its agents tell. Each pool's object has a coordinator to itself, and the directory
// one without pools, so that any of them can be lost alone.

import { COORDINATORS_MAX } from "../../config/coordinators.ts";
import type { LocalPool, LocalRelay } from "./deployment.ts";
import type { Cluster } from "./running-cluster.ts";
import type { Keys } from "./state-dir.ts";

export const CLUSTERS_MAX = 8;
export const RTT_MS_MAX = 2_000;
/** Of the nearest and the farthest cluster, where nobody says. */
export const RTT_DEFAULT_MS = { min: 30, max: 150 } as const;

const REGIONS = [
  "us-east",
  "eu-west",
  "ap-south",
  "us-west",
  "ap-northeast",
  "sa-east",
  "eu-north",
  "af-south",
] as const;

/** A cluster before anything of it runs. */
export interface ClusterPlan {
  /** Of its pool, too. */
  readonly name: string;
  readonly region: string;
  readonly rttMs: number;
}

/** Of N clusters that nobody gave times: spread evenly. */
export function spreadRtts(count: number): number[] {
  const { min, max } = RTT_DEFAULT_MS;
  return Array.from({ length: count }, (_, i) =>
    count === 1 ? min : Math.round(min + ((max - min) * i) / (count - 1)),
  );
}

export function planClusters(rttsMs: readonly number[]): ClusterPlan[] {
  return rttsMs.map((rttMs, i) => ({
    name: `cluster-${i + 1}`,
    region: REGIONS[i % REGIONS.length]!,
    rttMs,
  }));
}

/** Of coordinators: one for the directory and, as far as there can be, one for each pool. */
export function clusterPlaces(plans: readonly ClusterPlan[]): {
  readonly coordinatorCount: number;
  readonly places: Readonly<Record<string, number>>;
} {
  const coordinatorCount = Math.min(plans.length + 1, COORDINATORS_MAX);
  const places = plans.map(({ name }, i) => [name, 1 + (i % (coordinatorCount - 1))] as const);
  return { coordinatorCount, places: Object.fromEntries(places) };
}

/** Of the links of one cluster, in the order of their ports. */
export function linkNames({ name }: ClusterPlan): Cluster["links"] {
  return { requests: `requests-${name}`, agents: `agents-${name}` };
}

const RELAY_KEY_ID = "k1";

/** The pool of a cluster whose relay listens at `relayPort`. */
export function clusterPool(
  plan: ClusterPlan,
  keys: Keys,
  options: Pick<LocalPool, "models" | "kvKeys"> & { readonly relayPort: number },
): LocalPool {
  const { models, kvKeys, relayPort } = options;
  const relay: LocalRelay = {
    listen: `127.0.0.1:${relayPort}`,
    keys: [{ id: RELAY_KEY_ID, secret: keys.relaySecret }],
  };
  return { name: plan.name, models, agentToken: keys.agentToken, relays: [relay], kvKeys };
}

// What happens at the edge of one pool.

import { colosAt, type EdgeTopology, NEAR_AND_FAR } from "./topology.ts";
import { ASK, AUTO, BY_FIRST_BLOCK, INSTANT, type Way, WAYS } from "./ways.ts";

export interface EdgeScenario {
  readonly name: string;
  readonly about: string;
  /** Name of one of EDGE_WORKLOADS. */
  readonly workload: string;
  /** Of the pool's saturation rate. */
  readonly load: number;
  readonly topology: Partial<EdgeTopology>;
  /** Objects of the pool. */
  readonly shards: number;
  readonly ways: readonly Way[];
  /** As a person would write it. */
  readonly config?: unknown;
  /** Requests under way at one endpoint at most, as it says. */
  readonly concurrencyMax?: number;
}

const MODERATE = 0.6;
/** As 2,000 requests a second over 300 isolates: each has about six. */
const FAR = "40 ms from the pool, at 0.6 of what it can do";
const FLASH_CROWD_ABOUT = "Half-way, one request in seven asks about one new document, within 10 s";

/** Waits in the object where the pool is full, as an operator would have it. */
const FLOW_CONTROL = { featureGates: ["flowControl"] };

/** Requests under way at one endpoint at most. */
const CONCURRENCY_MAX = 24;
const BOUNDED = {
  featureGates: ["flowControl"],
  plugins: [
    { type: "concurrency-detector", parameters: { maxConcurrency: CONCURRENCY_MAX } },
    { type: "latency-cost-scorer" },
    { type: "max-score-picker", parameters: { maxNumOfEndpoints: 4 } },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [
        { pluginRef: "concurrency-detector" },
        { pluginRef: "latency-cost-scorer", weight: 1 },
        { pluginRef: "max-score-picker" },
      ],
    },
  ],
  flowControl: { saturationDetector: { pluginRef: "concurrency-detector" } },
};

export const EDGE_SCENARIOS: readonly EdgeScenario[] = [
  {
    name: "trace",
    about: `6 isolates, ${FAR}`,
    workload: "trace",
    load: MODERATE,
    topology: { isolatesPerColo: 2 },
    shards: 1,
    ways: WAYS,
  },
  {
    name: "chat",
    about: `12 isolates, ${FAR}`,
    workload: "chat",
    load: MODERATE,
    topology: { isolatesPerColo: 4 },
    shards: 1,
    ways: WAYS,
  },
  {
    name: "overload",
    about: "The same at 1.2 times what the pool can do, with flow control",
    workload: "chat",
    load: 1.2,
    topology: { isolatesPerColo: 4 },
    shards: 1,
    ways: [AUTO, INSTANT, ASK],
    config: FLOW_CONTROL,
  },
  {
    name: "flash crowd",
    about: `12 isolates, ${FAR}. ${FLASH_CROWD_ABOUT}`,
    workload: "flash crowd",
    load: MODERATE,
    topology: { isolatesPerColo: 4 },
    shards: 1,
    ways: WAYS.filter(({ name }) => name !== "random"),
  },
  {
    name: "near and far",
    about: "300 isolates in three colos, 2, 40 and 120 ms from the pool's four objects",
    workload: "chat",
    load: MODERATE,
    topology: { isolatesPerColo: 100, colos: NEAR_AND_FAR },
    shards: 4,
    ways: [AUTO, INSTANT, ASK],
  },
  {
    name: "bounds",
    about: `No more than ${CONCURRENCY_MAX} requests at an endpoint, one message in twenty lost`,
    workload: "chat",
    load: 0.9,
    topology: { isolatesPerColo: 4, lostShare: 0.05 },
    shards: 1,
    ways: [AUTO, ASK, ...WAYS.filter(({ name }) => name === "local")],
    config: BOUNDED,
    concurrencyMax: CONCURRENCY_MAX,
  },
];

/** Four objects beside one that nobody can have. */
export const SHARDS = 4;
export const SHARD_WORKLOADS = ["one block", "forty blocks"] as const;
export const SHARD_WAYS: readonly Way[] = [ASK, AUTO, BY_FIRST_BLOCK];

export function shardScenario(workload: string, shards: number): EdgeScenario {
  return {
    name: `${workload}, ${shards} ${shards === 1 ? "object" : "objects"}`,
    about: `12 isolates, ${FAR}`,
    workload,
    load: MODERATE,
    topology: { isolatesPerColo: 4 },
    shards,
    ways: SHARD_WAYS,
  };
}

/** By the way to the pool, and by how many isolates share the requests. */
export const RTTS_MS = [2, 10, 40, 120] as const;
export const ISOLATES_PER_COLO = [1, 4, 33, 100] as const;

export function atDistance(rttMs: number): Partial<EdgeTopology> {
  return { colos: colosAt(rttMs) };
}

// What can be done to which part of a run, and by whom: processes by `fairlead up`, links by their process,
// engines by themselves, drains by the Worker. Whatever lasts ends by itself, even if we are gone by then;
// but for drains, which only somebody takes back.

import { UsageError } from "../cli-error.ts";
import type { Cluster } from "../up/running-cluster.ts";
import { coordinatorName } from "../up/workerd.ts";
import { CONTROL_ORDINAL } from "../../config/coordinators.ts";

export const ACTIONS = ["kill", "cut", "slow", "drain", "undrain"] as const;
export type Action = (typeof ACTIONS)[number];

/** refuse: at once, with an error. blackhole: silence. reset: once, and good again. */
export const CUT_MODES = ["refuse", "blackhole", "reset"] as const;
export type CutMode = (typeof CUT_MODES)[number];

const PARTS = ["agents", "requests", "relays", "engines", "object"] as const;
type ClusterPart = (typeof PARTS)[number];

export type Target =
  | { readonly part: "all" | ClusterPart; readonly cluster: string }
  | { readonly part: "directory" };

/** Of a command line. Throws UsageError. */
export function parseTarget(text: string): Target {
  if (text === "directory") return { part: "directory" };
  const [, partText, cluster] = /^(?:([a-z]+):)?([a-z0-9-]+)$/.exec(text) ?? [];
  const part = partText === undefined ? "all" : PARTS.find((each) => each === partText);
  if (part === undefined || cluster === undefined)
    throw new UsageError(
      `TARGET is a cluster such as cluster-2, ${PARTS.map((each) => `${each}:cluster-2`).join(", ")} or directory, not "${text}".`,
    );
  return { part, cluster };
}

/** What is to be done, by whom. */
export type Deed =
  | {
      readonly by: "up";
      readonly names: readonly string[];
      readonly do: "kill" | "stop" | "freeze";
      /** Absent: as long as everything lasts. */
      readonly forMs?: number;
    }
  | {
      readonly by: "links";
      readonly process: string;
      readonly links: readonly string[];
      readonly change: { readonly cut: CutMode } | { readonly rttMs: number };
    }
  | { readonly by: "engines"; readonly endpoints: readonly string[] }
  | { readonly by: "worker"; readonly pool: string; readonly isDrain: boolean };

export interface Wish {
  readonly action: Action;
  readonly target: Target;
  readonly mode: CutMode;
  readonly slowMs: number;
}

/** `cluster` is the target's; undefined for the directory. Throws UsageError for what makes no sense. */
export function deedOf(wish: Wish, cluster: Cluster | undefined): Deed {
  const { action, target, mode } = wish;
  if (target.part === "directory" || cluster === undefined) {
    const names = [coordinatorName(CONTROL_ORDINAL)];
    if (action === "kill") return { by: "up", names, do: "kill" };
    if (action === "cut") return cutProcess(names, mode);
    throw senseless(wish);
  }
  switch (action) {
    case "kill":
      return { by: "up", names: processesOf(target.part, cluster, wish), do: "kill" };
    case "cut":
      if (target.part === "object") return cutProcess([cluster.processes.object], mode);
      if (target.part === "engines") return cutEngines(cluster, mode);
      return { ...linksOf(target.part, cluster, wish), change: { cut: mode } };
    case "slow":
      return { ...linksOf(target.part, cluster, wish), change: { rttMs: wish.slowMs } };
    case "drain":
      if (target.part === "relays")
        return { by: "up", names: cluster.processes.relays, do: "stop" };
      if (target.part === "all") return { by: "worker", pool: cluster.name, isDrain: true };
      throw senseless(wish);
    case "undrain":
      if (target.part === "all") return { by: "worker", pool: cluster.name, isDrain: false };
      throw senseless(wish);
  }
}

/** An object is where its process is: gone, silent, or begun anew. */
function cutProcess(names: readonly string[], mode: CutMode): Deed {
  if (mode === "blackhole") return { by: "up", names, do: "freeze" };
  return { by: "up", names, do: "kill", ...(mode === "reset" ? { forMs: 1 } : {}) };
}

/** Simulated engines close their listeners and open them again themselves. */
function cutEngines({ endpoints }: Cluster, mode: CutMode): Deed {
  if (mode !== "refuse")
    throw new UsageError("Engines are cut off with --mode refuse only; kill ends them.");
  return { by: "engines", endpoints };
}

function processesOf(
  part: "all" | ClusterPart,
  { processes }: Cluster,
  wish: Wish,
): readonly string[] {
  const { engines, agents, relays, object } = processes;
  switch (part) {
    case "all":
      return [...engines, ...agents, ...relays];
    case "engines":
      return engines;
    case "agents":
      return agents;
    case "relays":
      return relays;
    case "object":
      return [object];
    case "requests":
      throw senseless(wish);
  }
}

function linksOf(
  part: "all" | ClusterPart,
  { processes, links }: Cluster,
  wish: Wish,
): { by: "links"; process: string; links: string[] } {
  const of = { by: "links", process: processes.links } as const;
  if (part === "all") return { ...of, links: [links.requests, links.agents] };
  if (part === "requests" || part === "agents") return { ...of, links: [links[part]] };
  throw senseless(wish);
}

function senseless({ action, target }: Wish): UsageError {
  const what = target.part === "all" ? "a whole cluster" : target.part;
  return new UsageError(`${action} means nothing for ${what}.`);
}

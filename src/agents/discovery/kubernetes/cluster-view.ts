// What a pool's source hears of its cluster, and the parts that its two kinds have in common.

import type { Clock } from "../../../scheduler/support/clock.ts";
import type { Rng } from "../../../scheduler/support/rng.ts";
import type { Candidate } from "./candidates.ts";
import type { ClusterApi } from "./cluster-api.ts";
import type { Reflector, ReflectorTiming } from "./reflector.ts";

export interface ClusterView {
  /** Everything needed has been listed. Until then there are no candidates. */
  readonly isSynced: boolean;
  /** What keeps news from coming, or is wrong with what came; undefined if nothing is. */
  readonly trouble: string | undefined;
  /** When the part heard of longest ago was heard of; undefined: one never was. */
  readonly heardAtMs: number | undefined;
  /** Objects beyond the bound of what is kept. */
  readonly leftOut: number;
  /** The places that serve now. */
  candidates(): readonly Candidate[];
  close(): void;
}

export interface ViewOptions {
  readonly api: ClusterApi;
  readonly namespace: string;
  readonly name: string;
  readonly timing: ReflectorTiming;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Anything may have changed. */
  readonly onChange: () => void;
}

export function earliestHeard(reflectors: readonly Reflector<unknown>[]): number | undefined {
  const times = reflectors.map((reflector) => reflector.heardAtMs);
  return times.includes(undefined) ? undefined : Math.min(...(times as number[]));
}

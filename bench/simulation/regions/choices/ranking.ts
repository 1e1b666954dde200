// What choices among pools share.

import type { LoadSignal } from "../../../../src/scheduler/pools/summary.ts";
import type { HeardPool } from "../choice.ts";

/** Pools by cost, the cheapest first; the first of equals goes first. */
export function ranked(count: number, costOf: (pool: number) => number): number[] {
  const costs = Array.from({ length: count }, (_, pool) => costOf(pool));
  return costs.map((_, pool) => pool).toSorted((a, b) => costs[a]! - costs[b]!);
}

/** What a pool said of its load; undefined where that is unknown, or nobody is there. */
export function loadOf(pool: HeardPool | undefined): LoadSignal | undefined {
  const { membership, load } = pool?.heard.summary ?? {};
  return membership?.usable === 0 ? undefined : load;
}

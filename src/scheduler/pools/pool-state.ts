// What is told of a pool in one word, of what speaks the most against it.

import { BREAKER, FRESHNESS, type PoolColumns } from "./pool-columns.ts";

export type PoolState =
  | "drained"
  | "open"
  | "empty"
  | "half-open"
  | "silent"
  | "stale"
  | "held"
  | "full"
  | "starting"
  | "fresh";

export function stateOf(pools: PoolColumns, slot: number): PoolState {
  if (pools.isDrained[slot] === 1) return "drained";
  if (pools.breaker[slot] === BREAKER.open) return "open";
  // Its own fresh word, as for pool-state-filter.
  if (pools.isEmpty[slot] === 1 && pools.freshness[slot] === FRESHNESS.fresh) return "empty";
  if (pools.breaker[slot] === BREAKER.halfOpen) return "half-open";
  if (pools.freshness[slot] === FRESHNESS.silent) return "silent";
  if (pools.freshness[slot] === FRESHNESS.stale) return "stale";
  if (pools.admission[slot] === 0) return "held";
  if (pools.isFull[slot] === 1 || pools.isOverloaded[slot] === 1) return "full";
  return pools.admission[slot]! < 1 ? "starting" : "fresh";
}

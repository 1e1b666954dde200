// What a change of a pool's map means for its objects.
//
//   more objects     the new ones are asked for keys that they have not been asked for; the others for none
//   fewer            all may be
//   a split comes    all but the one that had what is below the key: blocks above the split are everybody's
//   a split goes     the one that has what is below the key from now on

import type { ShardMap } from "./contracts.ts";
import { type PreparedShards, prepareShards, shardOfKey, splitBelow } from "./shard-of.ts";

/** The shards to which keys belong that did not before; undefined where no key belongs elsewhere. */
export function gainersOf(before: ShardMap, after: ShardMap): ReadonlySet<number> | undefined {
  const from = prepareShards(before);
  const to = prepareShards(after);
  const changed = changedSplits(from, to);
  const all = new Set(Array.from({ length: to.count }, (_, shard) => shard));
  if (from.count === to.count) {
    const isMoved = to.count > 1 && changed.length > 0;
    return isMoved ? gainersBySplits(changed, all) : undefined;
  }
  if (from.count > to.count || (from.count > 1 && changed.length > 0)) return all;
  // The hash takes nothing from the new shards to those there were.
  return new Set([...all].filter((shard) => shard >= from.count));
}

interface ChangedSplit {
  readonly low: number;
  readonly high: number;
  /** The block below which it was, or is; 0 for none. */
  readonly was: number;
  readonly is: number;
}

function changedSplits(from: PreparedShards, to: PreparedShards): ChangedSplit[] {
  const changed: ChangedSplit[] = [];
  for (const [low, high] of [...from.map.splits, ...to.map.splits]) {
    const was = splitBelow(from, low, high);
    const is = splitBelow(to, low, high);
    if (was !== is) changed.push({ low, high, was, is });
  }
  return changed;
}

function gainersBySplits(
  changed: readonly ChangedSplit[],
  all: ReadonlySet<number>,
): ReadonlySet<number> {
  const gainers = new Set<number>();
  for (const { low, high, was, is } of changed) {
    const owner = shardOfKey(low, high, all.size);
    for (const shard of all) if (shard === owner ? was !== 0 : is !== 0) gainers.add(shard);
  }
  return gainers;
}

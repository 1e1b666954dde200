import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { gainersOf } from "../../../src/scheduler/shards/map-changes.ts";
import {
  EVERY_SHARD,
  prepareShards,
  shardOfBlock,
} from "../../../src/scheduler/shards/shard-of.ts";

/** Keys of a prompt: each names all of it up to there. */
function keysOf(path: readonly number[]): Uint32Array {
  let low = 3;
  let high = 5;
  return Uint32Array.from(
    path.flatMap((step) => {
      low = Math.imul(low ^ step, 0x9e37_79b1) >>> 0;
      high = Math.imul(high + low, 0x85eb_ca6b) >>> 0;
      return [low, high];
    }),
  );
}

const somePath = fc.array(fc.nat(1), { minLength: 1, maxLength: 5 });
const someSplit = fc.tuple(somePath, fc.integer({ min: 1, max: 6 })).map(([path, block]) => {
  const keys = keysOf(path);
  return [keys.at(-2)!, keys.at(-1)!, block] as const;
});
const someMap: fc.Arbitrary<ShardMap> = fc.record({
  count: fc.integer({ min: 1, max: 5 }),
  version: fc.nat(),
  splits: fc.array(someSplit, { maxLength: 4 }),
});
const someChange = fc.oneof(
  fc.tuple(someMap, someMap),
  someMap.map((map): [ShardMap, ShardMap] => [map, { ...map, splits: map.splits.slice(1) }]),
  fc
    .tuple(someMap, someSplit)
    .map(([map, split]): [ShardMap, ShardMap] => [map, { ...map, splits: [...map.splits, split] }]),
  fc
    .tuple(someMap, fc.integer({ min: 1, max: 6 }))
    .map(([map, count]): [ShardMap, ShardMap] => [map, { ...map, count }]),
);

function checkGainers([before, after]: readonly [ShardMap, ShardMap], paths: number[][]): void {
  const gainers = gainersOf(before, after);
  for (const path of paths) {
    const was = shardOfBlock(keysOf(path), prepareShards(before));
    const is = shardOfBlock(keysOf(path), prepareShards(after));
    const gaining = Array.from({ length: after.count }, (_, shard) => shard).filter((shard) => {
      const isIts = is === EVERY_SHARD || is === shard;
      return isIts && !(shard < before.count && (was === EVERY_SHARD || was === shard));
    });
    // Undefined: every block is where it was.
    expect(gaining.filter((shard) => gainers?.has(shard) !== true)).toEqual([]);
    expect(gainers === undefined ? is : was).toBe(was);
  }
}

describe("gainersOf", () => {
  it("names every shard that a block belongs to and did not before", () => {
    const change = fc.property(someChange, fc.array(somePath, { maxLength: 30 }), checkGainers);
    expect(() => fc.assert(change, { numRuns: 2_000 })).not.toThrow();
  });

  it("names no other where that can be told", () => {
    const [low, high] = keysOf([1]);
    const none: ShardMap = { count: 4, version: 1, splits: [] };
    const split: ShardMap = { ...none, version: 2, splits: [[low!, high!, 3]] };
    const owner = shardOfBlock(keysOf([1]), prepareShards(none));
    const others = [0, 1, 2, 3].filter((shard) => shard !== owner);
    expect(gainersOf(none, split)).toEqual(new Set(others));
    expect(gainersOf(split, none)).toEqual(new Set([owner]));
    expect(gainersOf(none, { ...none, version: 9 })).toBeUndefined();
    expect(gainersOf(split, { ...split, count: 6 })).toEqual(new Set([4, 5]));
    expect(gainersOf({ ...split, count: 1 }, { ...none, count: 1 })).toBeUndefined();
    expect(gainersOf({ ...none, count: 1 }, split)).toEqual(new Set([1, 2, 3]));
    expect(gainersOf(split, { ...split, count: 2 })).toEqual(new Set([0, 1]));
  });
});

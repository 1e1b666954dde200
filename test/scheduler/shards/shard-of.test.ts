import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ONE_SHARD, type ShardMap, SPLITS_MAX } from "../../../src/scheduler/shards/contracts.ts";
import {
  EVERY_SHARD,
  prepareShards,
  shardOf,
  shardOfBlock,
  shardOfWalk,
  walkOn,
  WALK_START,
} from "../../../src/scheduler/shards/shard-of.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

const rng = createRng(7);
const word = () => Math.floor(rng() * 2 ** 32);
const freshKeys = (blocks: number) => Uint32Array.from({ length: 2 * blocks }, word);
const concat = (...parts: Uint32Array[]) => Uint32Array.from(parts.flatMap((part) => [...part]));
const lowOf = (keys: Uint32Array, block: number) => keys[2 * block]!;
const highOf = (keys: Uint32Array, block: number) => keys[2 * block + 1]!;
const split = (keys: Uint32Array, from: number, to: number) =>
  [lowOf(keys, from), highOf(keys, from), to] as const;

const words = fc.integer({ min: 0, max: 2 ** 32 - 1 });
/** Few words, so that maps and prompts meet. */
const few = fc.integer({ min: 0, max: 3 });
const someMap: fc.Arbitrary<ShardMap> = fc.record({
  count: fc.integer({ min: 1, max: 16 }),
  version: fc.nat(),
  splits: fc.array(fc.tuple(few, few, fc.integer({ min: 0, max: 12 })), { maxLength: 12 }),
});
const someKeys = fc
  .array(few, { maxLength: 24 })
  .map((keys) => Uint32Array.from(keys.slice(0, keys.length & ~1)));

describe("shardOf", () => {
  it("sends every prompt to one shard below the count, whatever the map", () => {
    fc.assert(
      fc.property(someMap, someKeys, words, (map, keys, seed) => {
        const shard = shardOf(keys, prepareShards(map), seed);
        expect(Number.isInteger(shard) && shard >= 0 && shard < map.count).toBe(true);
      }),
    );
  });

  it("asks only shards that the prompt's blocks are of interest to", () => {
    fc.assert(
      fc.property(someMap, someKeys, words, (map, keys, seed) => {
        const shards = prepareShards(map);
        const shard = shardOf(keys, shards, seed);
        for (let length = 2; length <= keys.length; length += 2) {
          const owner = shardOfBlock(keys.subarray(0, length), shards);
          expect([EVERY_SHARD, shard]).toContain(owner);
        }
      }),
    );
  });

  it("keeps prompts together that are the same up to the split", () => {
    const head = freshKeys(6);
    const shards = prepareShards({ count: 8, version: 1, splits: [split(head, 0, 5)] });
    const shard = shardOf(head, shards, 1);
    for (let i = 0; i < 50; i++) expect(shardOf(concat(head, freshKeys(i)), shards, i)).toBe(shard);
  });

  it("spreads prompts that differ at the split only", () => {
    const head = freshKeys(8);
    const one = prepareShards({ count: 4, version: 0, splits: [] });
    const shards = prepareShards({ count: 4, version: 1, splits: [split(head, 0, 8)] });
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 4_000; i++) {
      const keys = concat(head, freshKeys(3));
      counts[shardOf(keys, shards, 0)]! += 1;
      expect(shardOf(keys, one, 0)).toBe(shardOf(head, one, 0));
    }
    for (const count of counts) expect(count / 4_000).toBeCloseTo(1 / 4, 1);
  });

  it("follows a split below a split", () => {
    const a = freshKeys(4);
    const b = concat(a.subarray(0, 4), freshKeys(4));
    const splits = [split(a, 0, 1), split(a, 1, 3)];
    const shards = prepareShards({ count: 16, version: 1, splits });
    const plain = prepareShards({ count: 16, version: 1, splits: [] });
    const own = (keys: Uint32Array, block: number) =>
      shardOf(keys.subarray(2 * block, 2 * block + 2), plain, 0);
    expect(shardOf(a, shards, 0)).toBe(own(a, 3));
    expect(shardOf(b, shards, 0)).toBe(own(b, 3));
  });

  it("goes by the last block of a prompt that ends above the split", () => {
    const head = freshKeys(3);
    const shards = prepareShards({ count: 16, version: 1, splits: [split(head, 0, 8)] });
    const shardsOfSeeds = new Set(Array.from({ length: 40 }, (_, i) => shardOf(head, shards, i)));
    expect(shardsOfSeeds.size).toBe(1);
    expect(shardOfBlock(head, shards)).toBe(EVERY_SHARD);
  });

  it("spreads prompts without a block, and those that end at a split, by the seed", () => {
    const head = freshKeys(3);
    const splits = [split(head, 0, 8), split(head, 2, 8)];
    const shards = prepareShards({ count: 4, version: 1, splits });
    for (const keys of [new Uint32Array(), head, head.subarray(0, 2)]) {
      const seen = new Set(Array.from({ length: 100 }, (_, i) => shardOf(keys, shards, i)));
      expect(seen.size).toBe(4);
    }
  });

  it("moves about 1 / (K + 1) of the keys to a new shard, and none between the others", () => {
    for (const count of [1, 2, 3, 4, 7, 15]) {
      const before = prepareShards({ count, version: 0, splits: [] });
      const after = prepareShards({ count: count + 1, version: 0, splits: [] });
      let moved = 0;
      for (let i = 0; i < 5_000; i++) {
        const keys = freshKeys(1);
        const was = shardOf(keys, before, 0);
        const is = shardOf(keys, after, 0);
        if (was === is) continue;
        expect(is).toBe(count);
        moved += 1;
      }
      expect(Math.abs(moved / 5_000 - 1 / (count + 1))).toBeLessThan(0.025);
    }
  });

  it("gives what it gave before: others reckon with it", () => {
    const shards = prepareShards({ count: 16, version: 0, splits: [] });
    const given = [1, 2, 3, 4, 5, 6, 7, 8].map((i) =>
      shardOf(Uint32Array.of(i * 0x1234_5678, i), shards, 0),
    );
    expect(given).toEqual([4, 5, 10, 6, 1, 2, 7, 10]);
    expect(shardOf(freshKeys(3), prepareShards(ONE_SHARD), 5)).toBe(0);
  });

  it("leaves out what is no split, and what is over the bound", () => {
    const keys = freshKeys(4);
    const bad = [
      [0.5, 1, 2],
      [lowOf(keys, 0), highOf(keys, 0), -1],
      [lowOf(keys, 0), highOf(keys, 0), 70_000],
    ] as const;
    const many = Array.from({ length: SPLITS_MAX + 5 }, () => [word(), word(), 1] as const);
    const shards = prepareShards({ count: 99, version: 0, splits: [...bad, ...many] });
    expect(shards.count).toBe(16);
    expect(shards.blocks.filter((block) => block !== 0)).toHaveLength(SPLITS_MAX);
    expect(shardOf(keys, shards, 0)).toBeLessThan(16);
  });
});

describe("a walk", () => {
  it("says block by block what shardOfBlock says of the whole", () => {
    fc.assert(
      fc.property(someMap, someKeys, (map, keys) => {
        const shards = prepareShards(map);
        let walk = WALK_START;
        for (let block = 0; 2 * block < keys.length; block++) {
          walk = walkOn(shards, walk, [block, lowOf(keys, block), highOf(keys, block)]);
          expect(shardOfWalk(walk)).toBe(shardOfBlock(keys.subarray(0, 2 * block + 2), shards));
        }
      }),
    );
  });

  it("gives blocks above a split to every shard, and those below to one", () => {
    const keys = freshKeys(6);
    const shards = prepareShards({ count: 5, version: 0, splits: [split(keys, 0, 3)] });
    const owners = [1, 2, 3, 4, 5, 6].map((n) => shardOfBlock(keys.subarray(0, 2 * n), shards));
    const own = shardOf(keys, shards, 0);
    expect(owners).toEqual([EVERY_SHARD, EVERY_SHARD, EVERY_SHARD, own, own, own]);
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NONE } from "../../../../src/scheduler/kv/block-table.ts";
import { CHAIN_START, KeyChains } from "../../../../src/scheduler/kv/residency/key-chains.ts";
import type { ShardMap, Split } from "../../../../src/scheduler/shards/contracts.ts";
import {
  EVERY_SHARD,
  prepareShards,
  shardOf,
  shardOfBlock,
  shardOfKey,
} from "../../../../src/scheduler/shards/shard-of.ts";

/** Keys of a prompt: each names its path, as real ones do. */
function keysOf(path: readonly number[]): Uint32Array {
  let low = 7;
  let high = 11;
  return Uint32Array.from(
    path.flatMap((step) => {
      low = Math.imul(low ^ step, 0x9e37_79b1) >>> 0;
      high = Math.imul(high + low, 0x85eb_ca6b) >>> 0;
      return [low, high];
    }),
  );
}

/** Splits below some blocks of some prompts. */
const splitsOf = (prompts: readonly (readonly number[])[]) =>
  fc
    .array(fc.tuple(fc.nat(prompts.length - 1), fc.nat(11), fc.integer({ min: 1, max: 6 })), {
      maxLength: 12,
    })
    .map((picks) =>
      picks.map(([prompt, at, further]): Split => {
        const keys = keysOf(prompts[prompt]!);
        const block = at % (keys.length / 2);
        return [keys[block * 2]!, keys[block * 2 + 1]!, block + further];
      }),
    );
const someMaps = fc
  .array(fc.array(fc.nat(2), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 12 })
  .chain((prompts) =>
    fc.record({
      prompts: fc.constant(prompts),
      maps: fc.array(fc.tuple(fc.integer({ min: 1, max: 16 }), splitsOf(prompts)), {
        minLength: 1,
        maxLength: 4,
      }),
    }),
  );

describe("the shard of a block", () => {
  it("is the one that its whole beginning gives, by whichever map there is", () => {
    fc.assert(
      fc.property(someMaps, ({ prompts, maps }) => {
        const chains = new KeyChains();
        for (const [i, [count, splits]] of maps.entries()) {
          const map: ShardMap = { count, version: i, splits };
          // Some are learned while another map is in force.
          for (const prompt of prompts.slice(0, i + 1)) chains.learn(keysOf(prompt));
          chains.use(map);
          for (const prompt of prompts) chains.learn(keysOf(prompt));
          const shards = prepareShards(map);
          for (const prompt of prompts) {
            const keys = keysOf(prompt);
            for (let end = 2; end <= keys.length; end += 2) {
              const found = chains.shardOf(keys[end - 2]!, keys[end - 1]!);
              expect(found).toBe(shardOfBlock(keys.subarray(0, end), shards));
              // Whoever asks for the prompt looks for it where it is told.
              const asked = shardOf(keys, shards, 1);
              expect(found === EVERY_SHARD || found === asked).toBe(true);
            }
          }
        }
      }),
    );
  });

  it("is every one where its beginning is not known", () => {
    const chains = new KeyChains();
    chains.use({ count: 4, version: 1, splits: [] });
    const keys = keysOf([1, 2, 3]);
    expect(chains.shardOf(keys[4]!, keys[5]!)).toBe(EVERY_SHARD);
    expect(chains.add(chains.find(keys[2]!, keys[3]!), keys[4]!, keys[5]!, 1)).toBe(NONE);
    expect(chains.shardOf(keys[4]!, keys[5]!)).toBe(EVERY_SHARD);
    chains.learn(keys);
    expect(chains.shardOf(keys[4]!, keys[5]!)).toBe(shardOfKey(keys[0]!, keys[1]!, 4));
  });
});

describe("blocks of tokens", () => {
  const shards = prepareShards({ count: 4, version: 1, splits: [] });

  it("count where requests have keys, and belong where the key before them does", () => {
    // Sixteen tokens each: every fourth has a key.
    const keys = keysOf([1, 2, 3, 4, 5, 6, 7, 8]);
    const splits: Split[] = [[keys[6]!, keys[7]!, 1]];
    const chains = new KeyChains(64);
    chains.use({ count: 4, version: 1, splits });
    let id = CHAIN_START;
    for (let at = 0; at < keys.length; at += 2) id = chains.add(id, keys[at]!, keys[at + 1]!, 16);
    const found = Array.from({ length: 8 }, (_, i) =>
      chains.shardOf(keys[i * 2]!, keys[i * 2 + 1]!),
    );
    const asked = Uint32Array.of(keys[6]!, keys[7]!, keys[14]!, keys[15]!);
    const shard = shardOf(asked, prepareShards({ count: 4, version: 1, splits }), 1);
    expect(found).toEqual([...Array.from({ length: 7 }, () => EVERY_SHARD), shard]);
  });

  it("belong to every shard where a split is in the middle of one", () => {
    const keys = keysOf([1, 2]);
    const chains = new KeyChains(64);
    chains.use({ count: 4, version: 1, splits: [] });
    let id = chains.add(CHAIN_START, keys[0]!, keys[1]!, 128);
    id = chains.add(id, keys[2]!, keys[3]!, 128);
    // Requests have a key after 64 tokens, and go by that.
    expect(chains.shardOf(keys[2]!, keys[3]!)).toBe(EVERY_SHARD);
    expect(shardOfKey(keys[0]!, keys[1]!, shards.count)).toBeGreaterThanOrEqual(0);
  });
});

describe("what is kept", () => {
  it("is bounded: prompts named long ago go from their ends, and the rest stays right", () => {
    const chains = new KeyChains(1, 1_000);
    chains.use({ count: 8, version: 1, splits: [] });
    const pathOf = (i: number) => [i % 50, i, i, i];
    const shardAt = (i: number, block: number) => {
      const keys = keysOf(pathOf(i));
      return chains.shardOf(keys[block * 2]!, keys[block * 2 + 1]!);
    };
    const rightShard = (i: number) => {
      const keys = keysOf(pathOf(i));
      return shardOfKey(keys[0]!, keys[1]!, 8);
    };
    const wrong: number[] = [];
    for (let i = 0; i < 3_000; i++) {
      chains.learn(keysOf(pathOf(i)));
      expect(shardAt(i, 3)).toBe(rightShard(i));
      if (i % 37 > 0) continue;
      chains.use({ count: 8, version: i, splits: [] });
      for (let each = Math.max(0, i - 500); each < i; each++) {
        for (const block of [1, 2, 3]) {
          const found = shardAt(each, block);
          if (found !== EVERY_SHARD && found !== rightShard(each)) wrong.push(each);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(chains.size).toBe(1_000);
    expect(shardAt(0, 3)).toBe(EVERY_SHARD);
    // Those that others are behind stay.
    for (let i = 0; i < 50; i++) expect(shardAt(i, 0)).toBe(rightShard(i));
  });

  it("is nothing more where all of it is one prompt", () => {
    const chains = new KeyChains(1, 100);
    chains.learn(keysOf(Array.from({ length: 200 }, (_, i) => i)));
    expect(chains.size).toBe(100);
  });

  it("goes by the newest of more maps than can be told apart", () => {
    const chains = new KeyChains();
    const keys = keysOf([1, 2]);
    chains.learn(keys);
    const wrong: number[] = [];
    for (let version = 0; version < 70_000; version++) {
      const count = 2 + (version % 2) * 14;
      chains.use({ count, version, splits: [] });
      if (version > 1 && version < 65_500) continue;
      const expected = shardOfKey(keys[0]!, keys[1]!, count);
      if (chains.shardOf(keys[2]!, keys[3]!) !== expected) wrong.push(version);
    }
    expect(wrong).toEqual([]);
  });
});

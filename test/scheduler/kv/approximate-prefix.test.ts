import { describe, expect, it } from "vitest";
import {
  ApproximatePrefix,
  DEFAULT_CAPACITY_BLOCKS,
} from "../../../src/scheduler/kv/approximate-prefix.ts";
import {
  CONTENT_BLOCK_BYTES,
  CONTENT_BLOCK_TOKENS,
  createContentKeys,
} from "../../../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";

const SLOTS = 4;

function keysOf(name: string, blocks: number): Uint32Array {
  const content = createContentKeys({ model: name });
  content.update(new Uint8Array(blocks * CONTENT_BLOCK_BYTES).fill(120));
  return content.keys();
}

function matched(prefix: ApproximatePrefix, keys: Uint32Array, slot: number): number {
  const out = new Int32Array(SLOTS);
  prefix.tree.match(keys, out);
  return out[slot]!;
}

function createPrefix(): ApproximatePrefix {
  return new ApproximatePrefix(new PrefixTree({ slotsMax: SLOTS }), SLOTS);
}

describe("ApproximatePrefix", () => {
  it("knows where a prefix was sent", () => {
    const prefix = createPrefix();
    const keys = keysOf("a", 5);
    prefix.learn(keys, 2, 0);
    expect([0, 1, 2, 3].map((slot) => matched(prefix, keys, slot))).toEqual([0, 0, 5, 0]);
  });

  it("believes an endpoint holds no more than its cache, counted in blocks of its own", () => {
    const prefix = createPrefix();
    for (let i = 0; i < 10; i++) prefix.learn(keysOf(`p${i}`, 10), 1, 32 * CONTENT_BLOCK_TOKENS);
    expect(prefix.tree.heldBlocks(1)).toBe(32);
    expect(matched(prefix, keysOf("p9", 10), 1)).toBe(10);
    expect(matched(prefix, keysOf("p0", 10), 1)).toBe(0);
  });

  it("follows a cache that shrank, and one that grew", () => {
    const prefix = createPrefix();
    for (let i = 0; i < 4; i++) prefix.learn(keysOf(`p${i}`, 10), 1, 0);
    prefix.learn(keysOf("p4", 10), 1, 20 * CONTENT_BLOCK_TOKENS);
    expect(prefix.tree.heldBlocks(1)).toBe(20);
    for (let i = 0; i < 4; i++) prefix.learn(keysOf(`p${i}`, 10), 1, 1_000 * CONTENT_BLOCK_TOKENS);
    expect(prefix.tree.heldBlocks(1)).toBeGreaterThan(30);
  });

  it.for([0, -1, NaN])("assumes llm-d's default while the cache size is %d", (tokens) => {
    const prefix = createPrefix();
    for (let i = 0; i < 17; i++) prefix.learn(keysOf(`p${i}`, 2_000), 0, tokens);
    expect(prefix.tree.heldBlocks(0)).toBe(DEFAULT_CAPACITY_BLOCKS);
  });

  it("unlearns what a failed request would have computed, and keeps what was there", () => {
    const prefix = createPrefix();
    prefix.learn(keysOf("a", 3), 0, 0);
    prefix.learn(keysOf("a", 8), 0, 0);
    prefix.unlearn(keysOf("a", 8), 0, 3);
    expect(matched(prefix, keysOf("a", 8), 0)).toBe(3);
  });

  it("forgets a removed endpoint, its capacity too", () => {
    const prefix = createPrefix();
    prefix.learn(keysOf("a", 8), 0, 2 * CONTENT_BLOCK_TOKENS);
    prefix.removeEndpoint(0);
    expect(prefix.tree.blockCount).toBe(0);
    // The tree's bound went with it, and comes back even where the next cache is as large.
    prefix.learn(keysOf("a", 8), 0, 2 * CONTENT_BLOCK_TOKENS);
    expect(prefix.tree.heldBlocks(0)).toBe(2);
    prefix.removeEndpoint(0);
    prefix.learn(keysOf("a", 8), 0, 0);
    expect(matched(prefix, keysOf("a", 8), 0)).toBe(8);
  });

  it("takes another rule over for every endpoint that it knows", () => {
    const prefix = createPrefix();
    prefix.learn(keysOf("a", 20), 0, 0);
    prefix.learn(keysOf("a", 20), 1, 15 * CONTENT_BLOCK_TOKENS);
    expect([prefix.tree.heldBlocks(0), prefix.tree.heldBlocks(1)]).toEqual([20, 15]);
    prefix.setRule({ followsEngine: true, blocks: 12 });
    expect([prefix.tree.heldBlocks(0), prefix.tree.heldBlocks(1)]).toEqual([12, 15]);
    prefix.setRule({ followsEngine: false, blocks: 10 });
    expect([prefix.tree.heldBlocks(0), prefix.tree.heldBlocks(1)]).toEqual([10, 10]);
    prefix.learn(keysOf("b", 20), 2, 64 * CONTENT_BLOCK_TOKENS);
    expect(prefix.tree.heldBlocks(2)).toBe(10);
  });
});

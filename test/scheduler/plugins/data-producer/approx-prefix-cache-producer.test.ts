import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import {
  CONTENT_BLOCK_TOKENS,
  CONTENT_KEYS_MAX,
} from "../../../../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../../../../src/scheduler/kv/prefix-tree.ts";
import { schedulerConfigSchema } from "../../../../src/scheduler/config/schema.ts";
import { capacityRuleOf } from "../../../../src/scheduler/plugins/data-producer/approx-prefix-cache-producer.ts";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import type { DataProducer } from "../../../../src/scheduler/plugin.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPlugin, createProducer } from "../../support/plugins.ts";
import { recordedAttempt } from "../../support/pool-life.ts";
import { promptKeys, TestPool } from "../../support/pool.ts";

const TYPE = "approx-prefix-cache-producer";

/** Keys of a chain of `blocks`. */
const keysOf = (blocks: number): Uint32Array =>
  Uint32Array.from({ length: 2 * blocks }, (_, i) => i + 1);

/** What is matched of a request of `blocks`, of which slot n holds the first `held[n]`. */
function match(held: readonly number[], blocks: number, params: object = {}) {
  const tree = new PrefixTree();
  held.forEach((count, slot) => tree.insert(keysOf(count), slot));
  const producer = createProducer(TYPE, params);
  producer.produce({
    ...pickContext(
      held.map(() => ({})),
      { request: { keys: keysOf(blocks) } },
    ),
    prefixSources: { approximate: (keys, out) => tree.match(keys, out) },
  });
  const { matchedBlocks, weightedBlocks, totalBlocks } = producer.data["prefix-match"]!;
  expect(weightedBlocks).toBe(matchedBlocks);
  return { matched: [...matchedBlocks.subarray(0, held.length)], totalBlocks };
}

const notesOf = (params: object) => {
  const plugin = pluginOf(TYPE);
  return plugin.notes!(plugin.params.parse(params));
};

describe("approx-prefix-cache-producer", () => {
  it("tells how much of a prompt each endpoint holds", () => {
    expect(match([0, 3, 10], 8)).toEqual({ matched: [0, 3, 8], totalBlocks: 8 });
  });

  it("forgets the decision before", () => {
    const producer = createProducer(TYPE);
    producer.produce(pickContext([{ matchedBlocks: 4 }], { totalBlocks: 4 }));
    producer.produce(pickContext([{ matchedBlocks: 1 }], { totalBlocks: 2 }));
    const { matchedBlocks, totalBlocks } = producer.data["prefix-match"]!;
    expect([matchedBlocks[0], totalBlocks]).toEqual([1, 2]);
  });

  it.for([
    { name: "by tokens", params: { maxPrefixTokensToMatch: 4 * CONTENT_BLOCK_TOKENS }, want: 4 },
    {
      name: "by blocks of at least 64 tokens, where tokens are 0",
      params: { maxPrefixTokensToMatch: 0, maxPrefixBlocksToMatch: 3, blockSizeTokens: 16 },
      want: 3,
    },
    {
      name: "by blocks of another size",
      params: { maxPrefixTokensToMatch: 0, maxPrefixBlocksToMatch: 3, blockSizeTokens: 128 },
      want: 6,
    },
    {
      name: "not at all, where both are 0",
      params: { maxPrefixTokensToMatch: 0, maxPrefixBlocksToMatch: 0 },
      want: 8,
    },
  ])("cuts prompts off $name", ({ params, want }) => {
    expect(match([8], 8, params)).toEqual({ matched: [want], totalBlocks: want });
  });

  it("cuts nothing off by default", () => {
    expect(match([CONTENT_KEYS_MAX], CONTENT_KEYS_MAX).totalBlocks).toBe(CONTENT_KEYS_MAX);
  });

  it("says what has no meaning here", () => {
    expect(notesOf({})).toEqual([]);
    expect(notesOf({ blockSizeTokens: 64 })).toEqual([]);
    expect(notesOf({ blockSize: 128 })).toEqual([
      expect.stringContaining("deprecated"),
      expect.stringContaining("64 tokens"),
    ]);
    expect(notesOf({ maxPrefixTokensToMatch: 262_144 })).toEqual([
      expect.stringContaining("first 131072 tokens"),
    ]);
  });

  const ruleOf = (plugins: readonly object[]) =>
    capacityRuleOf(schedulerConfigSchema.parse({ plugins }));

  it.for([
    { name: "its defaults", parameters: {}, want: { followsEngine: true, blocks: 31_250 } },
    {
      name: "a capacity of its own",
      parameters: { autoTune: false, lruCapacityPerServer: 100 },
      want: { followsEngine: false, blocks: 100 },
    },
    {
      name: "a capacity in blocks of another size",
      parameters: { lruCapacityPerServer: 100, blockSizeTokens: 128 },
      want: { followsEngine: true, blocks: 200 },
    },
  ])("tells how much the index is to remember: $name", ({ parameters, want }) => {
    expect(ruleOf([{ type: TYPE, parameters }])).toEqual(want);
  });

  it("has the index remember as by default where it is not configured", () => {
    expect(ruleOf([{ type: "queue-scorer" }])).toEqual(ruleOf([{ type: TYPE }]));
  });
});

/** Keys of a chain that begins with `from`. */
const chain = (from: number, blocks: number): Uint32Array =>
  Uint32Array.from({ length: 2 * blocks }, (_, i) => from * 100_003 + i);

/** A producer whose capacity is not the pool's, and what a test does with it. */
function ownIndex(lruCapacityPerServer: number) {
  const params = { autoTune: false, lruCapacityPerServer };
  const poolRule = { followsEngine: true, blocks: 31_250 };
  const producer = createPlugin(TYPE, params, { poolRule }) as DataProducer;
  const contextOf = (keys: Uint32Array) => pickContext([{}, {}], { request: { keys } });
  return {
    picked: (keys: Uint32Array, slot: number) => producer.onPicked!(contextOf(keys), slot),
    removed: (slot: number) => producer.onEndpointRemoved!(slot),
    restarted: (slot: number) => producer.onEndpointRestarted?.(slot),
    matched: (keys: Uint32Array) => {
      producer.produce(contextOf(keys));
      return [...producer.data["prefix-match"]!.matchedBlocks.subarray(0, 2)];
    },
  };
}

describe("an index of the producer's own", () => {
  it("learns where requests are sent, forgets the oldest over its capacity, and slots", () => {
    const index = ownIndex(10);
    const [first, second] = [chain(1, 6), chain(2, 6)];
    index.picked(first, 1);
    expect(index.matched(first)).toEqual([0, 6]);
    index.picked(second, 1);
    expect(index.matched(second)).toEqual([0, 6]);
    // The tail goes first.
    expect(index.matched(first)).toEqual([0, 4]);
    index.removed(1);
    expect(index.matched(second)).toEqual([0, 0]);
  });

  it("forgets what an engine held that has started anew", () => {
    const index = ownIndex(10);
    index.picked(chain(1, 6), 1);
    index.restarted(1);
    expect(index.matched(chain(1, 6))).toEqual([0, 0]);
  });

  it("is not kept where the capacity is the pool's", () => {
    const poolRule = { followsEngine: true, blocks: 31_250 };
    expect(createPlugin(TYPE, {}, { poolRule })).not.toHaveProperty("onPicked");
  });

  it("of CPU memory holds what the GPU has evicted, in the tiered guide", () => {
    const guide = readFileSync("test/fixtures/guides/tiered-prefix-cache.yaml", "utf8");
    const config = schedulerConfigSchema.parse(parse(guide));
    const pool = new TestPool(1, config);
    pool.sampleAll();
    pool.prefix.setRule(capacityRuleOf(config));
    const gpuTokens = 100 * CONTENT_BLOCK_TOKENS;
    const prompts = ["a".repeat(256 * 50), "b".repeat(256 * 100)];
    for (const prompt of prompts) {
      pool.pick(prompt);
      pool.prefix.learn(promptKeys(prompt), 0, gpuTokens);
    }
    const [run] = recordedAttempt(pool, prompts[0]!).runs;
    const { scores } = [...run!.rows.values()][0]!;
    expect(scores).toMatchObject({ "gpu-prefix-cache-scorer": 0, "cpu-prefix-cache-scorer": 1 });
  });
});

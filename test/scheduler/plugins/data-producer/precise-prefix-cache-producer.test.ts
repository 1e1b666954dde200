import { describe, expect, it } from "vitest";
import type { PrefixSources } from "../../../../src/scheduler/plugin.ts";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

interface Held {
  readonly matched: number;
  readonly tiers: Readonly<Record<string, number>>;
}

function match(held: readonly Held[], kvCacheBackendConfigs?: readonly object[]) {
  const indexerConfig = kvCacheBackendConfigs === undefined ? {} : { kvCacheBackendConfigs };
  const producer = createProducer("precise-prefix-cache-producer", { indexerConfig });
  const exact: PrefixSources["exact"] = (_keys, matched, tiers) =>
    held.forEach((each, slot) => {
      matched[slot] = each.matched;
      for (const [tier, blocks] of tiers) blocks[slot] = each.tiers[tier] ?? 0;
    });
  const approximate: PrefixSources["approximate"] = () => {
    throw new Error("not asked where there are events");
  };
  const context = pickContext(
    held.map(() => ({})),
    { totalBlocks: 10 },
  );
  producer.produce({ ...context, prefixSources: { exact, approximate } });
  const { matchedBlocks, weightedBlocks, totalBlocks } = producer.data["prefix-match"]!;
  expect(totalBlocks).toBe(10);
  return {
    matched: [...matchedBlocks.subarray(0, held.length)],
    weighted: [...weightedBlocks.subarray(0, held.length)],
  };
}

describe("precise-prefix-cache-producer", () => {
  it("weighs each block by the best tier that has it", () => {
    const held = [
      { matched: 10, tiers: { gpu: 10, cpu: 4 } },
      { matched: 10, tiers: { gpu: 6, cpu: 10 } },
      { matched: 4, tiers: { cpu: 4 } },
      { matched: 0, tiers: {} },
    ];
    const { matched, weighted } = match(held);
    expect(matched).toEqual([10, 10, 4, 0]);
    expect(weighted.map((blocks) => Number(blocks.toFixed(9)))).toEqual([10, 9.2, 3.2, 0]);
  });

  it("counts a block of a tier that is not listed by the least weight, not in full", () => {
    expect(match([{ matched: 10, tiers: { gpu: 5, disk: 5 } }]).weighted).toEqual([9]);
  });

  it("takes weights from its configuration, in any order", () => {
    const weights = [
      { name: "disk", weight: 0.1 },
      { name: "GPU", weight: 1 },
    ];
    expect(match([{ matched: 10, tiers: { gpu: 5, disk: 10 } }], weights).weighted).toEqual([5.5]);
  });

  it("tells what the approximate index knows where there are no events", () => {
    const producer = createProducer("precise-prefix-cache-producer");
    producer.produce(pickContext([{ matchedBlocks: 3 }], { totalBlocks: 4 }));
    const { matchedBlocks, weightedBlocks } = producer.data["prefix-match"]!;
    expect([matchedBlocks[0], weightedBlocks[0]]).toEqual([3, 3]);
  });

  it("says which of llm-d's parameters are without effect, where they are given", () => {
    const plugin = pluginOf("precise-prefix-cache-producer");
    const notesOf = (parameters: object) => plugin.notes!(plugin.params.parse(parameters));
    const blockSizeTokens = { tokenProcessorConfig: { blockSizeTokens: 64 } };
    expect(notesOf(blockSizeTokens)).toEqual([
      expect.stringContaining("looked up in the approximate index"),
    ]);
    expect(notesOf({ speculativeIndexing: true })).toEqual([]);
  });

  it("says that only GPUs and what is below them are told apart", () => {
    const plugin = pluginOf("precise-prefix-cache-producer");
    const notesOf = (...names: string[]) => {
      const kvCacheBackendConfigs = names.map((name) => ({ name, weight: 0.5 }));
      return plugin.notes!(plugin.params.parse({ indexerConfig: { kvCacheBackendConfigs } }));
    };
    expect(notesOf("GPU", "cpu")).toEqual([]);
    expect(notesOf("gpu", "disk", "cpu", "nixl")).toEqual([
      expect.stringContaining("the weight of disk, nixl is without effect"),
    ]);
  });

  it("takes llm-d's parameters, defaults included", () => {
    const { params } = pluginOf("precise-prefix-cache-producer");
    expect(params.parse({})).toMatchObject({
      tokenProcessorConfig: { blockSizeTokens: 16, hashSeed: "", hashAlgorithm: "cbor-fnv" },
      indexerConfig: {
        kvCacheBackendConfigs: [
          { name: "gpu", weight: 1 },
          { name: "cpu", weight: 0.8 },
        ],
      },
      kvEventsConfig: {
        topicFilter: "kv@",
        concurrency: 4,
        engineType: "vllm",
        discoverPods: true,
      },
      speculativeIndexing: false,
      speculativeTTL: "2s",
    });
    const guide = {
      tokenProcessorConfig: { blockSize: 64, hashAlgorithm: "xxh64" },
      kvEventsConfig: { podDiscoveryConfig: { socketPort: 5556 } },
    };
    expect(params.safeParse(guide).success).toBe(true);
    // The release note's spelling, which llm-d refuses, too.
    const misspelt = { tokenProcessorConfig: { hashAlgorithm: "xxhash" } };
    expect(params.safeParse(misspelt).success).toBe(false);
  });
});

describe("the parameters of precise-prefix-cache-producer", () => {
  const { params } = pluginOf("precise-prefix-cache-producer");

  it("name a tier once, in any case", () => {
    const tiers = (...names: string[]) => ({
      indexerConfig: { kvCacheBackendConfigs: names.map((name) => ({ name, weight: 1 })) },
    });
    expect(params.safeParse(tiers("gpu", "cpu")).success).toBe(true);
    const { error } = params.safeParse(tiers("gpu", "cpu", "GPU"));
    expect(error?.issues).toMatchObject([
      { path: ["indexerConfig", "kvCacheBackendConfigs", 2, "name"] },
    ]);
  });

  it.for(["x", "2", "0s"])("refuse the speculative TTL %j", (speculativeTTL) => {
    expect(params.safeParse({ speculativeTTL }).success).toBe(false);
  });
});

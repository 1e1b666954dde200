// precise-prefix-cache-producer: what endpoints hold, as their engines' KV events say.
//
//   matched[slot]  = blocks of the request that slot holds without a gap from the first, in any tier
//   weighted[slot] = each of them times the weight of its best tier
//
// Blocks are shared out to tiers by weight, heaviest first: exact for two tiers, and at most too much for
// more, where one block may be in several of the lighter ones. A block in no listed tier counts with the
// least listed weight; llm-d counts it in full, so that a disk looks like a GPU. llm-d also keeps ten
// holders of a block and finds no block of a LoRA adapter; neither bound exists here.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/preciseprefixcache. Where
// there are no events, it tells what the approximate index knows: less is known then, not nothing, and
// no tier is told apart; so it is for single endpoints, too. O(blocks + candidates * tiers), no allocation.

import { z } from "zod";
import { parseDurationMs } from "../../config/quantities.ts";
import type { SchedulerConfig } from "../../config/scheduler-config.ts";
import { CONTENT_BLOCK_TOKENS } from "../../kv/content-keys.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

/** Tiers that are told apart. */
const TIERS_MAX = 8;

const text = z.string().optional();
const tokenProcessorConfig = z.strictObject({
  blockSizeTokens: z.int().min(1).default(16),
  blockSize: z.int().min(1).optional().describe("Deprecated: as blockSizeTokens"),
  hashSeed: z.string().default(""),
  hashAlgorithm: z.enum(["cbor-fnv", "xxh64"]).default("cbor-fnv"),
});
const kvBlockIndexConfig = z.strictObject({
  inMemoryConfig: z
    .strictObject({
      size: z.int().min(1).default(100_000_000),
      podCacheSize: z.int().min(1).default(10),
    })
    .optional(),
  costAwareMemoryConfig: z
    .strictObject({ size: z.union([z.string(), z.int()]).default("2GiB") })
    .optional(),
  redisConfig: z.strictObject({ address: z.string().default("redis://127.0.0.1:6379") }).optional(),
  enableMetrics: z.boolean().default(false),
  metricsLoggingInterval: text,
});
const kvEventsConfig = z.strictObject({
  zmqEndpoint: text,
  topicFilter: z.string().default("kv@"),
  concurrency: z.int().min(1).default(4),
  engineType: z.enum(["vllm", "sglang"]).default("vllm"),
  discoverPods: z.boolean().default(true),
  podDiscoveryConfig: z
    .strictObject({
      podLabelSelector: z.string().default("llm-d.ai/inference-serving=true"),
      podNamespace: z.string().default(""),
      socketPort: z.int().min(1).max(65_535).default(5557),
      replaySocketPort: z.int().min(0).max(65_535).optional(),
    })
    .optional(),
});
const tierWeight = z.strictObject({
  name: z.string().trim().toLowerCase().min(1).describe("Tier, as events call it"),
  weight: z.number().min(0).describe("What a block there is worth; 1 for GPU memory"),
});

const speculationShape = {
  speculativeIndexing: z.boolean().default(false),
  speculativeTTL: z
    .string()
    .refine((written) => (parseDurationMs(written) ?? 0) > 0, {
      error: "expected a duration over 0, e.g. 2s",
    })
    .default("2s"),
};
const speculationParams = z.object(speculationShape);
/** Plugins that look up what engines say. */
const PRECISE_TYPES = new Set(["precise-prefix-cache-producer", "precise-prefix-cache-scorer"]);

/** Also of precise-prefix-cache-scorer, which may keep an index of its own. */
export const preciseParamsShape = {
  tokenProcessorConfig: tokenProcessorConfig.prefault({}),
  indexerConfig: z
    .strictObject({
      kvBlockIndexConfig: kvBlockIndexConfig.prefault({}),
      kvCacheBackendConfigs: z
        .array(tierWeight)
        .min(1)
        .max(TIERS_MAX)
        .superRefine((tiers, context) => {
          const names = tiers.map(({ name }) => name);
          for (const [i, name] of names.entries()) {
            if (names.indexOf(name) === i) continue;
            const message = "is listed already: a tier has one weight";
            context.addIssue({ code: "custom", path: [i, "name"], message });
          }
        })
        .default([
          { name: "gpu", weight: 1 },
          { name: "cpu", weight: 0.8 },
        ]),
    })
    .prefault({}),
  kvEventsConfig: kvEventsConfig.prefault({}),
  ...speculationShape,
};
const params = z.strictObject(preciseParamsShape);
export type PreciseParams = z.output<typeof params>;

/** What of the parameters is without effect, as it was given or by default. */
function withoutEffect({ tokenProcessorConfig, indexerConfig, kvEventsConfig }: PreciseParams) {
  const { kvBlockIndexConfig } = indexerConfig;
  return JSON.stringify({ tokenProcessorConfig, kvBlockIndexConfig, kvEventsConfig });
}
const DEFAULT_WITHOUT_EFFECT = withoutEffect(params.parse({}));

/** The tiers that are told apart. */
const TOLD_TIERS = ["gpu", "cpu"];

/** Sentences on what acts otherwise here. */
export function preciseNotes(given: PreciseParams): string[] {
  const notes = tierNotes(given);
  if (withoutEffect(given) === DEFAULT_WITHOUT_EFFECT) return notes;
  return [
    ...notes,
    "Engines' KV events are read by the pool's collectors, as their flags say, and prompts are looked up " +
      "by content: tokenProcessorConfig, kvBlockIndexConfig and kvEventsConfig are without effect. An " +
      "endpoint that no collector tells of is looked up in the approximate index.",
  ];
}

function tierNotes({ indexerConfig }: PreciseParams): string[] {
  const others = indexerConfig.kvCacheBackendConfigs
    .map(({ name }) => name)
    .filter((name) => !TOLD_TIERS.includes(name));
  if (others.length === 0) return [];
  return [
    `kvCacheBackendConfigs: the weight of ${others.join(", ")} is without effect. What an endpoint holds below ` +
      "its GPUs, in host memory or on its disk, counts as cpu; what endpoints share is not counted.",
  ];
}

/** How long a request counts as cached where it was sent, as the pool's plugins say; 0: not at all. */
export function speculationMsOf({ plugins }: Pick<SchedulerConfig, "plugins">): number {
  let ttlMs = 0;
  for (const { type, parameters } of plugins) {
    if (!PRECISE_TYPES.has(type)) continue;
    const given = speculationParams.safeParse(parameters ?? {});
    if (!given.success || !given.data.speculativeIndexing) continue;
    ttlMs = Math.max(ttlMs, parseDurationMs(given.data.speculativeTTL) ?? 0);
  }
  return ttlMs;
}

interface Tier {
  readonly weight: number;
  readonly blocks: Int32Array;
}

export class PreciseMatcher implements DataProducer {
  readonly #matchedBlocks = new Int32Array(ENDPOINTS_MAX);
  readonly #weightedBlocks = new Float64Array(ENDPOINTS_MAX);
  readonly #match = {
    matchedBlocks: this.#matchedBlocks,
    weightedBlocks: this.#weightedBlocks,
    totalBlocks: 0,
    blockTokens: CONTENT_BLOCK_TOKENS,
  };
  readonly data = { "prefix-match": this.#match };
  readonly #blocksByTier: ReadonlyMap<string, Int32Array>;
  /** Heaviest first. */
  readonly #tiers: readonly Tier[];
  readonly #leastWeight: number;

  constructor({ indexerConfig }: Pick<PreciseParams, "indexerConfig">) {
    const weights = indexerConfig.kvCacheBackendConfigs;
    this.#blocksByTier = new Map(weights.map(({ name }) => [name, new Int32Array(ENDPOINTS_MAX)]));
    this.#tiers = weights
      .map(({ name, weight }) => ({ weight, blocks: this.#blocksByTier.get(name)! }))
      .sort((a, b) => b.weight - a.weight);
    this.#leastWeight = Math.min(...weights.map(({ weight }) => weight));
  }

  produce({ request, prefixSources, candidates, candidateCount }: PickContext): void {
    const { exact } = prefixSources;
    this.#match.totalBlocks = request.keys.length / 2;
    if (exact === undefined) prefixSources.approximate(request.keys, this.#matchedBlocks);
    else exact(request.keys, this.#matchedBlocks, this.#blocksByTier);
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      const matched = this.#matchedBlocks[slot]!;
      this.#weightedBlocks[slot] = exact === undefined ? matched : this.#weigh(slot, matched);
    }
  }

  #weigh(slot: number, matched: number): number {
    let left = matched;
    let weighted = 0;
    for (const { weight, blocks } of this.#tiers) {
      const here = Math.min(left, blocks[slot]!);
      weighted += here * weight;
      left -= here;
    }
    return weighted + left * this.#leastWeight;
  }
}

export const precisePrefixCacheProducer = defineDataProducer({
  type: "precise-prefix-cache-producer",
  produces: ["prefix-match"],
  params,
  notes: preciseNotes,
  create: (given) => new PreciseMatcher(given),
});

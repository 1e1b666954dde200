// approx-prefix-cache-producer: what endpoints hold, as learned from where requests were sent.
//
//   matched[slot] = blocks of the request that slot holds without a gap from the first
//   total         = min(blocks of the request, maxPrefixTokensToMatch / 64)
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/approximateprefix. The
// pool's prefix tree does the work; kv/approximate-prefix.ts says how it learns. It differs where llm-d
// is wrong by its own account: a match is an unbroken prefix, where llm-d's walk only stops at a block
// that nobody holds, and capacity is counted in the index's blocks, where llm-d compares blocks of 64
// tokens with the engine's count of often 16. Blocks are 64 tokens always; llm-d's are at least that. It
// misleads where engines evict for other reasons than age. O(blocks), no allocation but a view of the keys
// where they are cut off.
//
// llm-d's producers have an index each. Here the pool has one, with the capacity of the first producer;
// one of another capacity (CPU memory behind the GPUs') keeps an index of its own, which is smaller, learns
// when an endpoint is chosen, unlearns nothing where the request fails, and is lost with the object.

import { z } from "zod";
import type { SchedulerConfig } from "../../config/scheduler-config.ts";
import { ApproximatePrefix, type CapacityRule } from "../../kv/approximate-prefix.ts";
import { CONTENT_BLOCK_TOKENS, CONTENT_KEYS_MAX } from "../../kv/content-keys.ts";
import { PrefixTree } from "../../kv/prefix-tree.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import {
  type DataProducer,
  defineDataProducer,
  type PickContext,
  type Wiring,
} from "../../plugin.ts";

export const approximateParams = z.strictObject({
  autoTune: z
    .boolean()
    .default(true)
    .describe("Whether an endpoint's capacity is what its engine reports"),
  blockSizeTokens: z.int().min(1).default(16).describe("Tokens of a block; less than 64 is 64"),
  blockSize: z.int().min(1).optional().describe("Deprecated: as blockSizeTokens"),
  maxPrefixTokensToMatch: z
    .int()
    .min(0)
    .default(131_072)
    .describe("Tokens of a prompt that are looked at; 0: as the next says"),
  maxPrefixBlocksToMatch: z
    .int()
    .min(0)
    .default(2_048)
    .describe("Blocks of a prompt that are looked at; 0: all"),
  lruCapacityPerServer: z
    .int()
    .min(1)
    .default(31_250)
    .describe(
      "Blocks of an endpoint that are remembered without autoTune, or while its size is unknown",
    ),
});
export type ApproximateParams = z.output<typeof approximateParams>;

/** Blocks of 64 tokens that a prompt is matched by at most. */
export function matchedBlocksMax(given: ApproximateParams): number {
  const { maxPrefixTokensToMatch: tokens, maxPrefixBlocksToMatch: blocks } = given;
  if (tokens > 0) return Math.floor(tokens / CONTENT_BLOCK_TOKENS);
  if (blocks === 0) return CONTENT_KEYS_MAX;
  return Math.floor((blocks * effectiveBlockTokens(given)) / CONTENT_BLOCK_TOKENS);
}

/** llm-d's own floor: whatever is configured, its blocks have 64 tokens or more. */
function effectiveBlockTokens({ blockSize, blockSizeTokens }: ApproximateParams): number {
  return Math.max(CONTENT_BLOCK_TOKENS, blockSize ?? blockSizeTokens);
}

/** Those with a capacity, in the order in which the pool's one index is theirs. */
const APPROXIMATE_TYPES: readonly string[] = [
  "approx-prefix-cache-producer",
  "multicluster-approx-prefix-cache-producer",
];

/** Indexes of a configuration besides the pool's; a shadow may have as many. */
export const OWN_INDEXES_MAX = 2;
/** Of each: about 200,000 blocks. */
export const OWN_INDEX_BYTES_MAX = 8 * 1024 * 1024;

export function isApproximate(type: string): boolean {
  return APPROXIMATE_TYPES.includes(type);
}

/**
 * The producer whose capacity the pool's index has: the one with the type's name, then the first.
 * undefined where there is none.
 */
export function poolProducerOf({ plugins }: Pick<SchedulerConfig, "plugins">) {
  for (const type of APPROXIMATE_TYPES) {
    const ofType = plugins.filter((plugin) => plugin.type === type);
    const found = ofType.find(({ name }) => name === type) ?? ofType[0];
    if (found !== undefined) return found;
  }
  return undefined;
}

/** How much of each endpoint the pool's index is to remember, as `config` has it. */
export function capacityRuleOf(config: Pick<SchedulerConfig, "plugins">): CapacityRule {
  return ruleOf(approximateParams.parse(poolProducerOf(config)?.parameters ?? {}));
}

/** The parameters that make the capacity of `given`, and no others. */
export function capacityParams(given: ApproximateParams) {
  const { autoTune, lruCapacityPerServer } = given;
  const blockSizeTokens = given.blockSize ?? given.blockSizeTokens;
  return { autoTune, blockSizeTokens, lruCapacityPerServer };
}

/** How much of each endpoint an index with these parameters remembers. */
export function ruleOf(given: ApproximateParams): CapacityRule {
  const tokens = given.lruCapacityPerServer * effectiveBlockTokens(given);
  return { followsEngine: given.autoTune, blocks: Math.floor(tokens / CONTENT_BLOCK_TOKENS) };
}

export function isSameRule(a: CapacityRule, b: CapacityRule): boolean {
  return a.followsEngine === b.followsEngine && a.blocks === b.blocks;
}

/** Sentences on what acts otherwise here. */
export function approximateNotes(given: ApproximateParams): string[] {
  const notes: string[] = [];
  if (given.blockSize !== undefined) notes.push("blockSize is deprecated: use blockSizeTokens.");
  if (effectiveBlockTokens(given) > CONTENT_BLOCK_TOKENS)
    notes.push(`blockSizeTokens: blocks have ${CONTENT_BLOCK_TOKENS} tokens here, always.`);
  if (matchedBlocksMax(given) > CONTENT_KEYS_MAX) {
    const tokens = CONTENT_KEYS_MAX * CONTENT_BLOCK_TOKENS;
    notes.push(`A prompt is known by its first ${tokens} tokens; what is longer matches by these.`);
  }
  return notes;
}

/** Fills `matchedBlocks` by slot; see PrefixSources. */
type Match = PickContext["prefixSources"]["approximate"];

class ApproximateMatcher implements DataProducer {
  readonly #wordsMax: number;
  readonly #matchedBlocks = new Int32Array(ENDPOINTS_MAX);
  readonly #match = {
    matchedBlocks: this.#matchedBlocks,
    weightedBlocks: this.#matchedBlocks,
    totalBlocks: 0,
    blockTokens: CONTENT_BLOCK_TOKENS,
  };
  readonly data = { "prefix-match": this.#match };

  constructor(given: ApproximateParams) {
    this.#wordsMax = 2 * matchedBlocksMax(given);
  }

  produce({ request, prefixSources }: PickContext): void {
    this.fill(request.keys, prefixSources.approximate);
  }

  protected fill(whole: Uint32Array, match: Match): void {
    const keys = this.cut(whole);
    this.#match.totalBlocks = keys.length / 2;
    match(keys, this.#matchedBlocks);
  }

  protected cut(keys: Uint32Array): Uint32Array {
    return keys.length > this.#wordsMax ? keys.subarray(0, this.#wordsMax) : keys;
  }
}

/** With an index of its own, for a capacity that is not the pool's. */
class OwnIndexMatcher extends ApproximateMatcher {
  readonly #index = new ApproximatePrefix(
    new PrefixTree({ bytesMax: OWN_INDEX_BYTES_MAX }),
    ENDPOINTS_MAX,
  );

  constructor(given: ApproximateParams) {
    super(given);
    this.#index.setRule(ruleOf(given));
  }

  override produce({ request }: PickContext): void {
    this.fill(request.keys, (keys, matchedBlocks) => this.#index.tree.match(keys, matchedBlocks));
  }

  onPicked({ request, endpoints }: PickContext, slot: number): void {
    this.#index.learn(this.cut(request.keys), slot, endpoints.kvCapacityTokens[slot]!);
  }

  onEndpointRemoved(slot: number): void {
    this.#index.removeEndpoint(slot);
  }

  onEndpointRestarted(slot: number): void {
    this.#index.removeEndpoint(slot);
  }
}

export function createApproximate(given: ApproximateParams, { poolRule }: Wiring): DataProducer {
  const isPools = poolRule === undefined || isSameRule(ruleOf(given), poolRule);
  return isPools ? new ApproximateMatcher(given) : new OwnIndexMatcher(given);
}

export const approxPrefixCacheProducer = defineDataProducer({
  type: "approx-prefix-cache-producer",
  produces: ["prefix-match"],
  params: approximateParams,
  notes: approximateNotes,
  create: createApproximate,
});

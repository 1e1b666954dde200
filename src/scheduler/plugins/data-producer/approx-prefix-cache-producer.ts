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

import { z } from "zod";
import type { SchedulerConfig } from "../../config/scheduler-config.ts";
import type { CapacityRule } from "../../kv/approximate-prefix.ts";
import { CONTENT_BLOCK_TOKENS, CONTENT_KEYS_MAX } from "../../kv/content-keys.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

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

/** Those of whom the pool's one index takes its parameters; the first that is configured counts. */
const APPROXIMATE_TYPES: readonly string[] = [
  "approx-prefix-cache-producer",
  "multicluster-approx-prefix-cache-producer",
];

/** How much of each endpoint the pool's index is to remember, as `config` has it. */
export function capacityRuleOf(config: SchedulerConfig): CapacityRule {
  const spec = config.plugins.find(({ type }) => APPROXIMATE_TYPES.includes(type));
  const given = approximateParams.parse(spec?.parameters ?? {});
  const tokens = given.lruCapacityPerServer * effectiveBlockTokens(given);
  return { followsEngine: given.autoTune, blocks: Math.floor(tokens / CONTENT_BLOCK_TOKENS) };
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

export class ApproximateMatcher implements DataProducer {
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
    const isCut = request.keys.length > this.#wordsMax;
    const keys = isCut ? request.keys.subarray(0, this.#wordsMax) : request.keys;
    this.#match.totalBlocks = keys.length / 2;
    prefixSources.approximate(keys, this.#matchedBlocks);
  }
}

export const approxPrefixCacheProducer = defineDataProducer({
  type: "approx-prefix-cache-producer",
  produces: ["prefix-match"],
  params: approximateParams,
  notes: approximateNotes,
  create: (given) => new ApproximateMatcher(given),
});

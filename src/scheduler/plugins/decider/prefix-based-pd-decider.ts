// prefix-based-pd-decider: prefill on another endpoint when the decode endpoint would have much to
// compute.
//
//   nonCached = promptTokens - matchedBlocks × blockTokens, on the chosen decode endpoint
//   yes       : nonCachedTokens > 0, and prompt ≥ promptTokens, and nonCached ≥ nonCachedTokens
//
// A prompt shorter than a block is cached nowhere as far as blocks tell: all of it is to compute. Where
// nothing was told of a longer one, the answer is no, as in llm-d: of what may all be there, nothing is
// moved.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg. Blocks count in full
// whatever their tier: they need no prefill. llm-d reads the producer of the default name, which is the
// approximate one also in pools with a precise one; here it is the pool's best knowledge. llm-d also
// hashes the part of a prompt behind its last full block; here blocks are full ones, and up to 63 tokens
// of a prompt that is cached to its end count as computed anew. Prompt tokens are an estimate, so that a
// threshold is met give or take a fifth. A comparison or two.

import { z } from "zod";
import type { PrefixMatch } from "../../data/data.ts";
import type { InferenceRequest } from "../../model/inference-request.ts";
import { defineDecider } from "../../plugin.ts";

const params = z.strictObject({
  nonCachedTokens: z
    .int()
    .min(0)
    .default(0)
    .describe("Tokens to compute from which prefill runs apart; 0: it never does"),
  promptTokens: z
    .int()
    .min(0)
    .default(0)
    .describe("Tokens of the prompts that are considered at least; 0: all"),
});

/** Undefined where nobody has told. */
function cachedTokens(
  { keys, promptTokens }: InferenceRequest,
  { matchedBlocks, totalBlocks, blockTokens }: PrefixMatch,
  slot: number,
): number | undefined {
  if (totalBlocks > 0) return matchedBlocks[slot]! * blockTokens;
  // The estimate is rounded up: what is just short of a block counts as one.
  return keys.length === 0 && promptTokens <= blockTokens ? 0 : undefined;
}

export const prefixBasedPdDecider = defineDecider({
  type: "prefix-based-pd-decider",
  params,
  notes: ({ nonCachedTokens }: z.output<typeof params>) =>
    nonCachedTokens === 0 ? ["nonCachedTokens is 0: prefill never runs apart."] : [],
  create: ({ nonCachedTokens, promptTokens: promptTokensMin }) => ({
    decide({ request, prefix }, slot) {
      const { promptTokens } = request;
      if (nonCachedTokens === 0 || slot < 0) return false;
      if (promptTokens < promptTokensMin || promptTokens < nonCachedTokens) return false;
      const cached = cachedTokens(request, prefix, slot);
      return cached !== undefined && promptTokens - cached >= nonCachedTokens;
    },
  }),
});

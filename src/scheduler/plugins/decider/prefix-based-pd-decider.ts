// prefix-based-pd-decider: prefill on another endpoint when the decode endpoint would have much to
// compute.
//
//   nonCached = promptTokens - matchedBlocks × blockTokens, on the chosen decode endpoint
//   yes       : nonCachedTokens > 0, and prompt ≥ promptTokens, and nonCached ≥ nonCachedTokens
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg. Blocks count in full
// whatever their tier: they need no prefill. llm-d reads the producer of the default name, which is the
// approximate one also in pools with a precise one; here it is the pool's best knowledge. Prompt tokens
// are an estimate, so that a threshold is met give or take a fifth. A comparison or two.

import { z } from "zod";
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
      const cachedTokens = prefix.totalBlocks === 0 ? 0 : prefix.matchedBlocks[slot]!;
      return promptTokens - cachedTokens * prefix.blockTokens >= nonCachedTokens;
    },
  }),
});

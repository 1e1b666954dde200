// prefix-cache-scorer: prefer endpoints that hold more of the prompt in cache.
//
//   ratio[i]  = matched[i] / total                       0 when the prompt has no full block
//   length[i] = min(1, matched[i] * blockTokens / scale)^2
//   score[i]  = w * length[i] + (1 - w) * ratio[i]       w = matchLengthWeight
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/prefix. The ratio alone values a
// full match of a tiny prompt like one of a huge prompt; matchLengthWeight mends that. It sees no
// load: pair it with load scorers. O(n), no allocation.

import { z } from "zod";
import { CONTENT_BLOCK_TOKENS } from "../../kv/content-keys.ts";
import { defineScorer } from "../../plugin.ts";

export const prefixCacheScorer = defineScorer({
  type: "prefix-cache-scorer",
  params: z.strictObject({
    matchLengthWeight: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe("Share of the score given to the match's absolute length"),
    matchLengthScaleTokens: z
      .number()
      .positive()
      .default(8192)
      .describe("Match length in tokens at which the length part reaches 1"),
  }),
  create: ({ matchLengthWeight, matchLengthScaleTokens }) => ({
    score(context, out) {
      const { candidates, candidateCount } = context;
      const { matchedBlocks, totalBlocks } = context.prefix;
      for (let i = 0; i < candidateCount; i++) {
        if (totalBlocks === 0) {
          out[i] = 0;
          continue;
        }
        const matched = matchedBlocks[candidates[i]!]!;
        const length = Math.min(1, (matched * CONTENT_BLOCK_TOKENS) / matchLengthScaleTokens);
        const ratio = Math.min(1, matched / totalBlocks);
        out[i] = matchLengthWeight * length * length + (1 - matchLengthWeight) * ratio;
      }
    },
  }),
});

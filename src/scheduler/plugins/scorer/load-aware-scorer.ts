// load-aware-scorer: prefer endpoints with a short queue, on an absolute scale.
//
//   score[i] = 0.5                                           depth[i] = 0
//              0.5 * (1 - min(depth[i], threshold) / threshold)     otherwise
//
// 0 without a fresh sample, because a queue nobody has looked at is not an empty one (llm-d gives it
// the best score).
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/loadaware. It never scores above
// 0.5: against scorers that reach 1, its weight counts for half. O(n), no allocation.

import { z } from "zod";
import { isFresh } from "../../freshness.ts";
import { defineScorer } from "../../plugin.ts";

/** The score of an empty queue. */
const IDLE_SCORE = 0.5;

export const loadAwareScorer = defineScorer({
  type: "load-aware-scorer",
  ranksByLoad: true,
  params: z.strictObject({
    threshold: z
      .int()
      .min(1)
      .default(128)
      .describe("Waiting requests from which on an endpoint scores 0"),
  }),
  create: ({ threshold }) => ({
    score(context, out) {
      const { candidates, candidateCount } = context;
      const { queueDepth } = context.endpoints;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        const depth = Math.min(queueDepth[slot]!, threshold);
        out[i] = isFresh(context, slot) ? IDLE_SCORE * (1 - depth / threshold) : 0;
      }
    },
  }),
});

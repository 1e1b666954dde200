// queue-scorer: prefer endpoints with fewer waiting requests.
//
//   score[i] = (max - depth[i]) / (max - min)     1.0 for all when max == min
//
// over the candidates with a fresh sample; one without scores 0, because a queue nobody has looked
// at is not an empty one (llm-d scores it as idle).
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/queuedepth. Min-max scaling
// ignores magnitude: depths {0, 1} and {0, 1000} score alike, so pair this with a scorer of
// absolute load. O(n), no allocation.

import { z } from "zod";
import { scoreFewest } from "../../fewest.ts";
import { defineScorer } from "../../plugin.ts";

export const queueScorer = defineScorer({
  type: "queue-scorer",
  ranksByLoad: true,
  params: z.strictObject({}),
  create: () => ({
    score: (context, out) => scoreFewest(context, context.endpoints.queueDepth, out),
  }),
});

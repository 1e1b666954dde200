// running-requests-size-scorer: prefer endpoints whose engine runs fewer requests.
//
//   score[i] = (max - running[i]) / (max - min)     1.0 for all when max == min
//
// over the candidates with a fresh sample; one without scores 0 (llm-d scores it as idle).
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/runningrequests. Min-max scaling
// ignores magnitude, as with queue-scorer, and the number is the engine's last report: requests sent
// since then do not count, so a burst between two samples goes to one endpoint. active-request-scorer
// sees them. O(n), no allocation.

import { z } from "zod";
import { scoreFewest } from "../../fewest.ts";
import { defineScorer } from "../../plugin.ts";

export const runningRequestsSizeScorer = defineScorer({
  type: "running-requests-size-scorer",
  ranksByLoad: true,
  params: z.strictObject({}),
  create: () => ({
    score: (context, out) => scoreFewest(context, context.endpoints.runningRequests, out),
  }),
});

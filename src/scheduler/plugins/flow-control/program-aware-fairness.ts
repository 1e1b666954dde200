// program-aware-fairness: serve the flow that was given least, recent service counting most.
//
//   service  += prompt tokens + 2 * completion tokens, halved every lasHalfLifeSeconds
//   score     = lasWeightService * (1 - norm(service)) + lasWeightHeadWait * norm(head wait)
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/fairness/program-aware. Not at work yet:
// flow control only checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const programAwareFairness = defineFlowControl({
  type: "program-aware-fairness",
  role: "fairness policy",
  params: z.strictObject({
    strategy: z.literal("las").default("las").describe("Least attained service"),
    lasWeightService: z.number().min(0).default(0.8).describe("Weight of little service"),
    lasWeightHeadWait: z.number().min(0).default(0.2).describe("Weight of a long wait"),
    lasHalfLifeSeconds: z.number().min(0).default(60).describe("0: service is never forgotten"),
    evictionTtlSeconds: z.number().min(0).default(3600).describe("0: flows are never forgotten"),
    evictionSweepSeconds: z.number().positive().default(300).describe("Between two sweeps"),
  }),
  create: () => ({}),
});

// priority-holdback-policy: lower priorities are held back before the pool is full.
//
//   rank:   ceiling[i] = max - i * (max - min) / (n - 1)               i-th priority of n
//   value:  ceiling    = min + (p - pMin) / (pMax - pMin) * (max - min)
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/usagelimits/priorityholdback. With one
// priority the ceiling is maxCeiling. Not at work yet: flow control only checks and keeps its
// configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const priorityHoldbackPolicy = defineFlowControl({
  type: "priority-holdback-policy",
  role: "usage limit policy",
  stability: "alpha",
  params: z
    .strictObject({
      shape: z.literal("linear").default("linear"),
      domain: z
        .enum(["rank", "value"])
        .default("rank")
        .describe("Whether the distance between priorities counts"),
      minCeiling: z.number().min(0).lt(1).describe("Saturation ceiling of the lowest priority"),
      maxCeiling: z.number().positive().max(1).default(1).describe("That of the highest"),
    })
    .refine(({ minCeiling, maxCeiling }) => minCeiling < maxCeiling, {
      path: ["minCeiling"],
      error: "expected less than maxCeiling",
    }),
  create: () => ({}),
});

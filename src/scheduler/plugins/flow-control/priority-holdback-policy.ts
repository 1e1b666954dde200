// priority-holdback-policy: lower priorities are held back before the pool is full.
//
//   rank:   ceiling[i] = max - i * (max - min) / (n - 1)               i-th priority of n
//   value:  ceiling    = min + (p - pMin) / (pMax - pMin) * (max - min)
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/usagelimits/priorityholdback. With one
// priority the ceiling is maxCeiling. There bands that came by themselves count for as long as they
// are remembered; here only while something waits in them, so a stray priority moves nobody's ceiling.

import { z } from "zod";
import { defineUsageLimitPolicy } from "../../plugin.ts";

const params = z
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
  });
type Params = z.output<typeof params>;

function createPolicy({ domain, minCeiling, maxCeiling }: Params) {
  const span = maxCeiling - minCeiling;
  return {
    ceilings(_saturation: number, priorities: readonly number[], out: Float64Array): void {
      const last = priorities.length - 1;
      const range = priorities[0]! - priorities[last]!;
      for (let i = 0; i <= last; i++) {
        const below = domain === "rank" ? i / last : (priorities[0]! - priorities[i]!) / range;
        out[i] = last === 0 ? maxCeiling : maxCeiling - below * span;
      }
    },
  };
}

export const priorityHoldbackPolicy = defineUsageLimitPolicy({
  type: "priority-holdback-policy",
  role: "usage limit policy",
  stability: "alpha",
  params,
  create: createPolicy,
});

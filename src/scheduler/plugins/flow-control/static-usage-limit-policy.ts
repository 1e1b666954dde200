// static-usage-limit-policy: one ceiling of saturation for all priorities.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/usagelimits. The default.

import { z } from "zod";
import { defineUsageLimitPolicy } from "../../plugin.ts";

export const staticUsageLimitPolicy = defineUsageLimitPolicy({
  type: "static-usage-limit-policy",
  role: "usage limit policy",
  params: z.strictObject({
    threshold: z.number().min(0).default(1).describe("Saturation at which nothing is let through"),
  }),
  create: ({ threshold }) => ({
    ceilings: (_saturation, priorities, out) => void out.fill(threshold, 0, priorities.length),
  }),
});

// static-usage-limit-policy: one ceiling of saturation for all priorities.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/usagelimits. The default. Not at work
// yet: flow control only checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const staticUsageLimitPolicy = defineFlowControl({
  type: "static-usage-limit-policy",
  role: "usage limit policy",
  params: z.strictObject({
    threshold: z.number().min(0).default(1).describe("Saturation at which nothing is let through"),
  }),
  create: () => ({}),
});

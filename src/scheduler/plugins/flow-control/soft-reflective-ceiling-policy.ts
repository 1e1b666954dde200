// soft-reflective-ceiling-policy: lower priorities take turns as saturation rises.
//
//   reflective[i] = 1 - i * s / (n - 1); below it open, at s >= 1 closed, between on a duty cycle
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/usagelimits/softreflectiveceiling. Not at
// work yet: flow control only checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const softReflectiveCeilingPolicy = defineFlowControl({
  type: "soft-reflective-ceiling-policy",
  role: "usage limit policy",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({}),
});

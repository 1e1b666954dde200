// global-strict-fairness-policy: serve the best head of all flows, by the ordering policy.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/fairness/globalstrict. The default. It
// isolates nobody: a flow that sends more is served more. Not at work yet: flow control only checks
// and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const globalStrictFairnessPolicy = defineFlowControl({
  type: "global-strict-fairness-policy",
  role: "fairness policy",
  params: z.strictObject({}),
  create: () => ({}),
});

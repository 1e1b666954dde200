// round-robin-fairness-policy: serve the flows of a band in turn.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/fairness/roundrobin. It counts requests
// and not tokens: a flow of long prompts gets more work done. Not at work yet: flow control only
// checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const roundRobinFairnessPolicy = defineFlowControl({
  type: "round-robin-fairness-policy",
  role: "fairness policy",
  params: z.strictObject({}),
  create: () => ({}),
});

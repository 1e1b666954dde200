// slo-deadline-ordering-policy: the request whose first token is due first is served first.
//
//   deadline = received + x-llm-d-slo-ttft-ms; far in the future without one
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/ordering/slodeadline. Requests without an
// objective can starve behind those with one. Not at work yet: flow control only checks and keeps its
// configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const sloDeadlineOrderingPolicy = defineFlowControl({
  type: "slo-deadline-ordering-policy",
  role: "ordering policy",
  params: z.strictObject({}),
  create: () => ({}),
});

// fcfs-ordering-policy: who came first is served first.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/ordering/fcfs. The default. Not at work
// yet: flow control only checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const fcfsOrderingPolicy = defineFlowControl({
  type: "fcfs-ordering-policy",
  role: "ordering policy",
  params: z.strictObject({}),
  create: () => ({}),
});

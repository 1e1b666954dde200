// priority-then-time-eviction-order-policy: the lowest priority is ended first, the newest of it before others.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/eviction/ordering. Not at work yet: flow
// control only checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const priorityThenTimeEvictionOrderPolicy = defineFlowControl({
  type: "priority-then-time-eviction-order-policy",
  role: "eviction ordering policy",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({}),
});

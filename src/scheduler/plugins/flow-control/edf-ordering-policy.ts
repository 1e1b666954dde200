// edf-ordering-policy: the request whose time in the queue ends first is served first.
//
//   deadline = enqueued + time to live; far in the future without one; ties as first come
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/ordering/edf. Not at work yet: flow
// control only checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const edfOrderingPolicy = defineFlowControl({
  type: "edf-ordering-policy",
  role: "ordering policy",
  params: z.strictObject({}),
  create: () => ({}),
});

// fcfs-ordering-policy: who came first is served first.
//
//   rank = received                 the first arrival anywhere
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/ordering/fcfs. The default. There a
// request's place is its time of enqueueing, which starts anew when the picker does.

import { z } from "zod";
import { defineOrderingPolicy } from "../../plugin.ts";

export const fcfsOrderingPolicy = defineOrderingPolicy({
  type: "fcfs-ordering-policy",
  role: "ordering policy",
  params: z.strictObject({}),
  create: () => ({ rank: ({ receivedAtMs }) => receivedAtMs }),
});

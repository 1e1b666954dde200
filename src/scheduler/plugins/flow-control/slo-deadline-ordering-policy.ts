// slo-deadline-ordering-policy: the request whose first token is due first is served first.
//
//   rank = received + x-llm-d-slo-ttft-ms; Infinity without one, or one that is out of range
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/ordering/slodeadline. Requests without an
// objective can starve behind those with one, until their time in the queue ends.

import { z } from "zod";
import { defineOrderingPolicy } from "../../plugin.ts";

export const sloDeadlineOrderingPolicy = defineOrderingPolicy({
  type: "slo-deadline-ordering-policy",
  role: "ordering policy",
  params: z.strictObject({}),
  create: () => ({
    rank({ receivedAtMs, request: { ttftSloMs } }) {
      const isKnown = ttftSloMs !== undefined && ttftSloMs > 0 && Number.isFinite(ttftSloMs);
      return isKnown ? receivedAtMs + ttftSloMs : Infinity;
    },
  }),
});

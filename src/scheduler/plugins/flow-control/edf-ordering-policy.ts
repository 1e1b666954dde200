// edf-ordering-policy: the request whose time in the queue ends first is served first.
//
//   rank = received + time to live; Infinity without one; ties as first come
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/ordering/edf. As there the time to live is
// that of a pool with endpoints, also while it has none. A client that asks for a short time to live
// comes earlier: the order is for clients that trust each other, within a flow.

import { z } from "zod";
import { defineOrderingPolicy } from "../../plugin.ts";

export const edfOrderingPolicy = defineOrderingPolicy({
  type: "edf-ordering-policy",
  role: "ordering policy",
  params: z.strictObject({}),
  create: () => ({ rank: ({ expiresAtMs }) => expiresAtMs }),
});

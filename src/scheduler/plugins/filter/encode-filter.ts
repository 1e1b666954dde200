// encode-filter: keep the endpoints that encode media for others.
//
//   kept: label llm-d.ai/role names encode        dropped: the label is absent
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/bylabel/roles.go. llm-d's filters
// match the value `encode-decode`, which its documentation has, nowhere; here it counts for both of
// its stages. A misspelt role drops the endpoint: it is never taken for an absent one. O(n), no
// allocation.

import { z } from "zod";
import { keepCandidates } from "../../candidates.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";
import { hasRole } from "../../roles.ts";

function encodes(context: PickContext, slot: number): boolean {
  return hasRole(context, slot, "encode");
}

export const encodeFilter = defineFilter({
  type: "encode-filter",
  params: z.strictObject({}),
  create: () => ({ filter: (context) => keepCandidates(context, encodes) }),
});

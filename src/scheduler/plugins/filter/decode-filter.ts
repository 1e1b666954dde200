// decode-filter: keep the endpoints that decode, which are those that a request can be sent to.
//
//   kept: label llm-d.ai/role names decode, or the label is absent
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/bylabel/roles.go. llm-d's filters
// match the value `encode-decode`, which its documentation has, nowhere; here it counts for both of
// its stages. A misspelt role drops the endpoint: it is never taken for an absent one. O(n), no
// allocation.

import { z } from "zod";
import { keepCandidates } from "../../candidates.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";
import { hasRole } from "../../roles.ts";

function decodes(context: PickContext, slot: number): boolean {
  return hasRole(context, slot, "decode");
}

export const decodeFilter = defineFilter({
  type: "decode-filter",
  params: z.strictObject({}),
  create: () => ({ filter: (context) => keepCandidates(context, decodes) }),
});

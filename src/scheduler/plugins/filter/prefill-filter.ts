// prefill-filter: keep the endpoints that prefill for others.
//
//   kept: label llm-d.ai/role names prefill       dropped: the label is absent
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/bylabel/roles.go. In a pool without
// roles nobody does this stage, so that prompts are prefilled where they are decoded. O(n), no
// allocation.

import { z } from "zod";
import { keepCandidates } from "../../candidates.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";
import { hasRole } from "../../roles.ts";

function prefills(context: PickContext, slot: number): boolean {
  return hasRole(context, slot, "prefill");
}

export const prefillFilter = defineFilter({
  type: "prefill-filter",
  params: z.strictObject({}),
  create: () => ({ filter: (context) => keepCandidates(context, prefills) }),
});

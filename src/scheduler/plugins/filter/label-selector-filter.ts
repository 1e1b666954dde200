// label-selector-filter: keep the endpoints whose labels match a Kubernetes label selector.
//
//   kept: every entry of matchLabels and of matchExpressions holds
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/bylabel/selector.go. As in
// Kubernetes, NotIn also holds where the label is absent, and a selector without requirements keeps
// everything. Nobody is kept, and the request is turned away, where a label is misspelt. O(n × r) for
// r requirements, no allocation.

import type { z } from "zod";
import { keepCandidates, labelsOf } from "../../candidates.ts";
import { labelSelectorSchema, meets, requirementsOf } from "../../label-selector.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";

export const labelSelectorFilter = defineFilter({
  type: "label-selector-filter",
  aliases: ["by-label-selector"],
  params: labelSelectorSchema,
  notes: (params: z.output<typeof labelSelectorSchema>) =>
    requirementsOf(params).length === 0 ? ["It has no requirement and keeps every endpoint."] : [],
  create: (params) => {
    const requirements = requirementsOf(params);
    const isSelected = (context: PickContext, slot: number) =>
      meets(labelsOf(context, slot), requirements);
    return { filter: (context) => keepCandidates(context, isSelected) };
  },
});

// by-label: keep the endpoints that have one of some values in a label.
//
//   kept: label ∈ validValues, or the label is absent and allowsNoLabel
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/bylabel/filter.go, deprecated there
// since v0.9.0. llm-d takes an absent label for an empty one, so that the value "" among validValues
// keeps endpoints without the label; so does this. O(n), no allocation.

import { z } from "zod";
import { keepCandidates, labelsOf } from "../../candidates.ts";
import { labelOf } from "../../labels.ts";
import { LABEL_SELECTOR_LIMITS } from "../../label-selector.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";

const params = z
  .strictObject({
    label: z.string().min(1).describe("Name of the label"),
    validValues: z
      .array(z.string())
      .max(LABEL_SELECTOR_LIMITS.valuesMax)
      .default([])
      .describe("Values that are kept"),
    allowsNoLabel: z.boolean().default(false).describe("Whether an absent label is kept, too"),
  })
  .refine(({ validValues, allowsNoLabel }) => validValues.length > 0 || allowsNoLabel, {
    path: ["validValues"],
    error: "either validValues must name a value or allowsNoLabel must be true",
  });

export const byLabel = defineFilter({
  type: "by-label",
  deprecated:
    "Use label-selector-filter, or decode-filter, prefill-filter and encode-filter for roles.",
  params,
  create: ({ label, validValues, allowsNoLabel }) => {
    const isValid = (context: PickContext, slot: number) => {
      const value = labelOf(labelsOf(context, slot), label);
      return (value === undefined && allowsNoLabel) || validValues.includes(value ?? "");
    };
    return { filter: (context) => keepCandidates(context, isValid) };
  },
});

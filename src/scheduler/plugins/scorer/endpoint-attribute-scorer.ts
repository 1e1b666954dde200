// endpoint-attribute-scorer: prefer endpoints by a number that the configuration names, such as a custom
// metric of the engine or the GPU's utilization.
//
//   linear_higher_is_better   score[i] = clamp01((value[i] - lo) / (hi - lo))
//   linear_lower_is_better    score[i] = 1 - that
//
// lo and hi are `fixedRange`, or the least and largest value among the candidates; 1 for all whose value
// is known when these are equal. 0 where the value is missing, or the endpoint has stopped to report.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/endpointattribute. An adaptive range
// ignores magnitude: 0.50 and 0.51 score as far apart as 0 and 1. O(n), no allocation.

import { z } from "zod";
import { toldValue } from "../../freshness.ts";
import { defineScorer, type PickContext } from "../../plugin.ts";

export interface LinearScale {
  /** Of `context.endpoints.scalar`. */
  readonly attributeKey: string;
  readonly isLowerBetter: boolean;
  /** The candidates' own range where absent. */
  readonly range?: { readonly min: number; readonly max: number } | undefined;
}

/** Scores the candidates by one scalar. */
export function scoreLinearly(
  context: PickContext,
  { attributeKey, isLowerBetter, range }: LinearScale,
  out: Float64Array,
): void {
  const { candidates, candidateCount } = context;
  const values = context.endpoints.scalar(attributeKey);
  if (values === undefined) {
    out.fill(0, 0, candidateCount);
    return;
  }
  let min = range?.min ?? Infinity;
  let max = range?.max ?? -Infinity;
  for (let i = 0; range === undefined && i < candidateCount; i++) {
    const value = toldValue(context, values, candidates[i]!);
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const span = max - min;
  for (let i = 0; i < candidateCount; i++) {
    const value = toldValue(context, values, candidates[i]!);
    if (Number.isNaN(value)) out[i] = 0;
    else if (span === 0) out[i] = 1;
    else {
      const height = Math.min(1, Math.max(0, (value - min) / span));
      out[i] = isLowerBetter ? 1 - height : height;
    }
  }
}

/** Also of endpoint-attribute-filter. */
export const PRODUCER_NOTE =
  "producer is without effect: a key is a pool's own, whichever extractor stores it.";

const normalization = z
  .strictObject({
    fixedRange: z
      .strictObject({ min: z.number(), max: z.number() })
      .refine(({ min, max }) => min < max, { error: "expected min to be less than max" })
      .optional()
      .describe("Values that score 0 and 1"),
    adaptiveRange: z.strictObject({}).optional().describe("The candidates' own range"),
  })
  .refine(
    ({ fixedRange, adaptiveRange }) => fixedRange === undefined || adaptiveRange === undefined,
    {
      error: "expected one of fixedRange and adaptiveRange",
    },
  );

export const endpointAttributeScorer = defineScorer({
  type: "endpoint-attribute-scorer",
  stability: "alpha",
  params: z.strictObject({
    attributeKey: z.string().min(1).describe("Key under which an extractor stores the number"),
    producer: z.string().optional().describe("The extractor's name; keys are a pool's own here"),
    algorithm: z.strictObject({
      type: z.enum(["linear_lower_is_better", "linear_higher_is_better"]),
      normalization: normalization.prefault({}),
    }),
  }),
  notes: ({ producer }) => (producer ? [PRODUCER_NOTE] : []),
  create({ attributeKey, algorithm }) {
    const isLowerBetter = algorithm.type === "linear_lower_is_better";
    const scale = { attributeKey, isLowerBetter, range: algorithm.normalization.fixedRange };
    return { score: (context, out) => scoreLinearly(context, scale, out) };
  },
});

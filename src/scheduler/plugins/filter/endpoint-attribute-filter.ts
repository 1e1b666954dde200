// endpoint-attribute-filter: keep the endpoints with a number on one side of a threshold.
//
//   kept: value[i] <operator> threshold      without a value: kept if onMissing is Pass
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/endpointattribute. Which numbers
// there are is for the data layer to say: custom metrics of core-metrics-extractor, GPU utilization.
// A value of an endpoint that has stopped to report is missing here; llm-d goes on believing the last
// one. By default a missing value does not speak against an endpoint, as in llm-d: set onMissing to
// Fail where it should. O(n), no allocation.

import { z } from "zod";
import { keepCandidates, keepCandidatesOrAll } from "../../candidates.ts";
import { toldValue } from "../../freshness.ts";
import { defineFilter } from "../../plugin.ts";
import { PRODUCER_NOTE } from "../scorer/endpoint-attribute-scorer.ts";

const OPERATORS = {
  LessThan: (value, threshold) => value < threshold,
  LessThanOrEqual: (value, threshold) => value <= threshold,
  GreaterThan: (value, threshold) => value > threshold,
  GreaterThanOrEqual: (value, threshold) => value >= threshold,
  Equal: (value, threshold) => value === threshold,
  NotEqual: (value, threshold) => value !== threshold,
} as const satisfies Record<string, (value: number, threshold: number) => boolean>;
type Operator = keyof typeof OPERATORS;

const threshold = z.strictObject({
  operator: z.enum(Object.keys(OPERATORS) as [Operator, ...Operator[]]),
  value: z.number().describe("What the endpoint's value is compared with"),
});

const params = z
  .strictObject({
    attribute: z.string().min(1).describe("Name of the number, as its extractor has it"),
    producer: z
      .string()
      .nullable()
      .default(null)
      .describe("Its extractor: core-metrics-extractor where null, any where empty"),
    onMissing: z
      .enum(["Pass", "Fail"])
      .default("Pass")
      .describe("Whether an endpoint without the number is kept"),
    fallbackOnEmpty: z
      .boolean()
      .default(false)
      .describe("Whether all are kept where none would be"),
    algorithm: z.strictObject({ type: z.literal("threshold"), threshold }),
  })
  .superRefine(({ attribute, producer }, context) => {
    const at = attribute.lastIndexOf("/");
    if (producer !== null || at < 0) return;
    context.addIssue({
      code: "custom",
      path: ["attribute"],
      message:
        'contains "/" but no producer is set: write what is behind the last "/" as producer, or set ' +
        'producer if the "/" is part of the name',
    });
  });

export const endpointAttributeFilter = defineFilter({
  type: "endpoint-attribute-filter",
  stability: "alpha",
  params,
  notes: ({ producer }: z.output<typeof params>) => (producer ? [PRODUCER_NOTE] : []),
  create: ({ attribute, onMissing, fallbackOnEmpty, algorithm }) => {
    const { operator, value: limit } = algorithm.threshold;
    const compare = OPERATORS[operator];
    const keep = fallbackOnEmpty ? keepCandidatesOrAll : keepCandidates;
    return {
      filter(context) {
        const values = context.endpoints.scalar(attribute);
        return keep(context, (_, slot) => {
          const value = toldValue(context, values, slot);
          return Number.isNaN(value) ? onMissing === "Pass" : compare(value, limit);
        });
      },
    };
  },
});

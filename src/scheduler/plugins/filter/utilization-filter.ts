// utilization-filter: drop the endpoints that are over any of some limits.
//
//   kept: metric[i] ≤ maxValue for every condition
//
//   active-requests        requests dispatched there that have not ended
//   running-requests, waiting-queue, kv-cache-utilization      as the engine reports them
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/utilization. llm-d takes a metric
// that was never read for 0; here an endpoint without a fresh sample is over every limit on what
// engines report. Without fallbackOnEmpty a pool that is busy all over turns requests away. O(n × c)
// for c conditions, no allocation.

import { z } from "zod";
import { keepCandidates, keepCandidatesOrAll } from "../../candidates.ts";
import { producerOf } from "../../data/data.ts";
import { isFresh, isUnsampled } from "../../freshness.ts";
import { defineFilter, type Filter, type PickContext } from "../../plugin.ts";

const METRICS = [
  "active-requests",
  "running-requests",
  "waiting-queue",
  "kv-cache-utilization",
] as const;
type UtilizationMetric = (typeof METRICS)[number];

const condition = z
  .strictObject({
    metric: z.enum(METRICS).describe("What is looked at"),
    maxValue: z
      .number()
      .min(0)
      .describe("The largest value that is kept; a fraction for kv-cache-utilization"),
  })
  .refine(({ metric, maxValue }) => metric !== "kv-cache-utilization" || maxValue <= 1, {
    path: ["maxValue"],
    error: "kv-cache-utilization is a fraction: at most 1",
  });

const params = z.strictObject({
  conditions: z.array(condition).min(1).max(16).describe("All of which an endpoint must meet"),
  fallbackOnEmpty: z
    .boolean()
    .default(false)
    .describe("Whether all are kept where no endpoint meets the conditions"),
  inFlightLoadProducerName: z.string().default("").describe("Who counts the active requests"),
});

type Params = z.output<typeof params>;

class UtilizationFilter implements Filter {
  readonly #conditions: Params["conditions"];
  readonly #keep: typeof keepCandidates;
  readonly #producer: string;

  constructor({ conditions, fallbackOnEmpty, inFlightLoadProducerName }: Params) {
    this.#conditions = conditions;
    this.#keep = fallbackOnEmpty ? keepCandidatesOrAll : keepCandidates;
    this.#producer = producerOf("in-flight-load", inFlightLoadProducerName);
  }

  filter(context: PickContext): number {
    const active = context.data.get("in-flight-load", this.#producer)?.requests;
    return this.#keep(context, (_, slot) => {
      for (const { metric, maxValue } of this.#conditions) {
        const value =
          metric === "active-requests" ? active?.[slot] : reportedValue(context, slot, metric);
        // What cannot be known is over every limit.
        if (value === undefined || value > maxValue) return false;
      }
      return true;
    });
  }
}

function reportedValue(
  context: PickContext,
  slot: number,
  metric: Exclude<UtilizationMetric, "active-requests">,
): number | undefined {
  if (!isFresh(context, slot) || isUnsampled(context, slot)) return undefined;
  const { endpoints } = context;
  switch (metric) {
    case "running-requests":
      return endpoints.runningRequests[slot];
    case "waiting-queue":
      return endpoints.queueDepth[slot];
    case "kv-cache-utilization":
      return endpoints.kvUsage[slot];
  }
}

function usesActiveRequests({ conditions }: Params): boolean {
  return conditions.some(({ metric }) => metric === "active-requests");
}

export const utilizationFilter = defineFilter({
  type: "utilization-filter",
  stability: "alpha",
  aliases: ["active-request-filter"],
  params,
  consumes: (filled: Params) =>
    usesActiveRequests(filled)
      ? [{ key: "in-flight-load", producer: filled.inFlightLoadProducerName }]
      : [],
  create: (filled) => new UtilizationFilter(filled),
});

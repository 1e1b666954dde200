// slo-headroom-tier-filter: keep the endpoints that are expected to meet the request's objectives.
//
//   positive: predicted, and headroom ≥ 0 for TTFT and for TPOT      negative: all others
//   kept:     positive, but negative with probability epsilonExploreNeg
//             the other tier where one is empty, all where there is no prediction at all
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/sloheadroomtier. An endpoint
// without a prediction is negative, so that a new one is tried only by exploration or when nobody
// else meets the objectives. O(n), no allocation.

import { z } from "zod";
import { keepCandidates } from "../../candidates.ts";
import { type LatencyPrediction, producerOf } from "../../data/data.ts";
import { defineFilter, type Filter, type PickContext } from "../../plugin.ts";

const params = z.strictObject({
  epsilonExploreNeg: z
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe("Chance that a request goes to an endpoint that will miss its objectives"),
  latencyPredictionInfoProducerName: z.string().default("").describe("Who predicts latencies"),
});

class SloHeadroomTierFilter implements Filter {
  readonly #epsilon: number;
  readonly #producer: string;

  constructor(filled: z.output<typeof params>) {
    this.#epsilon = filled.epsilonExploreNeg;
    this.#producer = producerOf("latency-prediction", filled.latencyPredictionInfoProducerName);
  }

  filter(context: PickContext): number {
    const { candidates, candidateCount, data } = context;
    const prediction = data.get("latency-prediction", this.#producer);
    if (prediction === undefined || candidateCount <= 1) return candidateCount;
    let predicted = 0;
    let positive = 0;
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      predicted += prediction.isPredicted[slot]!;
      if (isPositive(prediction, slot)) positive++;
    }
    if (predicted === 0 || positive === 0 || positive === candidateCount) return candidateCount;
    const keepsPositive = this.#epsilon === 0 || context.rng() >= this.#epsilon;
    return keepCandidates(context, (_, slot) => isPositive(prediction, slot) === keepsPositive);
  }
}

function isPositive(prediction: LatencyPrediction, slot: number): boolean {
  if (prediction.isPredicted[slot] !== 1) return false;
  return prediction.ttftHeadroomMs[slot]! >= 0 && prediction.tpotHeadroomMs[slot]! >= 0;
}

export const sloHeadroomTierFilter = defineFilter({
  type: "slo-headroom-tier-filter",
  params,
  consumes: ({ latencyPredictionInfoProducerName }: z.output<typeof params>) => [
    { key: "latency-prediction", producer: latencyPredictionInfoProducerName },
  ],
  create: (filled) => new SloHeadroomTierFilter(filled),
});

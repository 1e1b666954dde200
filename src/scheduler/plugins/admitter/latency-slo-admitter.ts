// latency-slo-admitter: turn sheddable requests away that nobody is expected to serve in time.
//
//   denied: priority < 0, and an objective is set, and there are predictions, and no candidate is
//     valid   headroom ≥ 0 for TTFT and for TPOT
//     idle    nothing runs there and nothing was sent there
//     cold    kvUsage < 2 %
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/admitter/latencyslo. A denial is
// rejected-saturated, 429; llm-d answers 500. Idle and cold need a fresh sample here: in llm-d one
// endpoint that was never scraped lets everybody in. O(n), no allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { isFresh } from "../../freshness.ts";
import { type Admitter, defineAdmitter, type PickContext } from "../../plugin.ts";

const params = z.strictObject({
  latencyPredictionInfoProducerName: z.string().default("").describe("Who predicts latencies"),
});

const COLD_KV_USAGE = 0.02;
const DENIAL = "no endpoint is expected to meet the request's latency objectives";

class LatencySloAdmitter implements Admitter {
  readonly #producer: string;

  constructor(producer: string) {
    this.#producer = producer;
  }

  admit(context: PickContext): string | undefined {
    const { request, candidates, candidateCount, data } = context;
    const hasObjective = (request.ttftSloMs ?? 0) > 0 || (request.tpotSloMs ?? 0) > 0;
    if (request.priority >= 0 || !hasObjective) return undefined;
    const prediction = data.get("latency-prediction", this.#producer);
    if (prediction === undefined) return undefined;
    const { isPredicted, ttftHeadroomMs, tpotHeadroomMs } = prediction;
    let predicted = 0;
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      if (isIdleOrCold(context, slot)) return undefined;
      if (isPredicted[slot] !== 1) continue;
      predicted++;
      if (ttftHeadroomMs[slot]! >= 0 && tpotHeadroomMs[slot]! >= 0) return undefined;
    }
    return predicted === 0 ? undefined : DENIAL;
  }
}

function isIdleOrCold(context: PickContext, slot: number): boolean {
  if (!isFresh(context, slot)) return false;
  const { runningRequests, inFlightRequests, kvUsage } = context.endpoints;
  const isIdle = runningRequests[slot] === 0 && inFlightRequests[slot] === 0;
  return isIdle || kvUsage[slot]! < COLD_KV_USAGE;
}

export const latencySloAdmitter = defineAdmitter({
  type: "latency-slo-admitter",
  params,
  consumes: ({ latencyPredictionInfoProducerName }: z.output<typeof params>) => [
    { key: "latency-prediction", producer: latencyPredictionInfoProducerName },
  ],
  create: ({ latencyPredictionInfoProducerName: name }) =>
    new LatencySloAdmitter(producerOf("latency-prediction", name)),
});

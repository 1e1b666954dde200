// active-request-scorer: prefer endpoints with fewer requests sent there and not ended.
//
//   score[i] = 1                                             n[i] <= idleThreshold
//              (nmax - n[i]) / nmax * maxBusyScore           otherwise
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/activerequest. The count is the
// router's own, so a burst sees itself at once and no sample can be stale; but it knows nothing of
// requests that reach an engine by another way. nmax is the busiest candidate, which scores 0 whether
// it has two requests or two hundred. O(n), no allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { defineScorer } from "../../plugin.ts";

const params = z.strictObject({
  idleThreshold: z
    .int()
    .min(0)
    .default(0)
    .describe("Requests up to which an endpoint counts as idle"),
  maxBusyScore: z
    .number()
    .default(1)
    .describe("Score that a busy endpoint stays below; outside of [0, 1] it is 1"),
  inFlightLoadProducerName: z.string().default("").describe("Who counts the requests"),
  requestTimeout: z.string().optional().describe("Deprecated and without effect"),
});

export const activeRequestScorer = defineScorer({
  type: "active-request-scorer",
  ranksByLoad: true,
  params,
  consumes: ({ inFlightLoadProducerName }) => [
    { key: "in-flight-load", producer: inFlightLoadProducerName },
  ],
  notes: ({ requestTimeout }) =>
    requestTimeout === undefined ? [] : ["requestTimeout is deprecated and without effect."],
  create({ idleThreshold, maxBusyScore, inFlightLoadProducerName }) {
    const producer = producerOf("in-flight-load", inFlightLoadProducerName);
    const busyScore = maxBusyScore >= 0 && maxBusyScore <= 1 ? maxBusyScore : 1;
    return {
      score({ data, candidates, candidateCount }, out) {
        const load = data.get("in-flight-load", producer);
        if (load === undefined) {
          out.fill(0, 0, candidateCount);
          return;
        }
        const { requests } = load;
        let most = 0;
        for (let i = 0; i < candidateCount; i++) most = Math.max(most, requests[candidates[i]!]!);
        for (let i = 0; i < candidateCount; i++) {
          const active = requests[candidates[i]!]!;
          out[i] = active <= idleThreshold ? 1 : ((most - active) / most) * busyScore;
        }
      },
    };
  },
});

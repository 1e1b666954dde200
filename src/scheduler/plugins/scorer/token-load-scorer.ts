// token-load-scorer: prefer endpoints with fewer tokens in flight, this request's own included.
//
//   tokens[i] = in flight there + what this request would have to compute there
//   score[i]  = 1 - min(tokens[i], threshold) / threshold        1 when tokens[i] <= 0
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/tokenload. The scale is absolute and
// its default wide: at 4 M tokens, loads of a few requests differ in the third decimal only, so alone
// it orders endpoints and beside others it hardly counts. O(n), no allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { defineScorer } from "../../plugin.ts";

const params = z.strictObject({
  queueThresholdTokens: z
    .number()
    .positive()
    .default(4_194_304)
    .describe("Tokens from which on an endpoint scores 0"),
  inFlightLoadProducerName: z.string().default("").describe("Who counts the tokens"),
});

export const tokenLoadScorer = defineScorer({
  type: "token-load-scorer",
  ranksByLoad: true,
  params,
  consumes: ({ inFlightLoadProducerName: producer }) => [
    { key: "in-flight-load", producer },
    { key: "uncached-tokens", producer },
  ],
  create({ queueThresholdTokens, inFlightLoadProducerName }) {
    const producer = producerOf("in-flight-load", inFlightLoadProducerName);
    return {
      score({ data, candidates, candidateCount }, out) {
        const inFlight = data.get("in-flight-load", producer);
        const uncached = data.get("uncached-tokens", producer);
        if (inFlight === undefined) {
          out.fill(0, 0, candidateCount);
          return;
        }
        for (let i = 0; i < candidateCount; i++) {
          const slot = candidates[i]!;
          const tokens = inFlight.tokens[slot]! + (uncached?.tokens[slot] ?? 0);
          const counted = Math.min(queueThresholdTokens, Math.max(0, tokens));
          out[i] = 1 - counted / queueThresholdTokens;
        }
      },
    };
  },
});

// prefix-cache-scorer: prefer endpoints that hold more of the prompt in cache.
//
//   ratio[i]  = weighted[i] / total                      0 when the prompt has no full block
//   length[i] = min(1, weighted[i] * blockTokens / scale)^2
//   score[i]  = w * length[i] + (1 - w) * ratio[i]       w = matchLengthWeight
//
// weighted counts a block by the tier it is held in: 1 for GPU memory.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/prefix. The ratio alone values a
// full match of a tiny prompt like one of a huge prompt; matchLengthWeight mends that. It sees no
// load: pair it with load scorers. O(n), no allocation.

import { z } from "zod";
import { type PrefixMatch, producerOf } from "../../data/data.ts";
import { defineScorer, type PickContext } from "../../plugin.ts";

/** Parameters that say how a match is valued; scorers of other producers have them, too. */
export const matchValueParams = {
  matchLengthWeight: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Share of the score given to the match's absolute length"),
  matchLengthScaleTokens: z
    .number()
    .positive()
    .default(8192)
    .describe("Match length in tokens at which the length part reaches 1"),
};

interface MatchValue {
  readonly matchLengthWeight: number;
  readonly matchLengthScaleTokens: number;
}

/** Scores the candidates by `match`; 0 for all where nobody knows. */
export function scoreMatches(
  { candidates, candidateCount }: PickContext,
  match: PrefixMatch | undefined,
  { matchLengthWeight, matchLengthScaleTokens }: MatchValue,
  out: Float64Array,
): void {
  if (match === undefined || match.totalBlocks === 0) {
    out.fill(0, 0, candidateCount);
    return;
  }
  const { weightedBlocks, totalBlocks, blockTokens } = match;
  for (let i = 0; i < candidateCount; i++) {
    const matched = weightedBlocks[candidates[i]!]!;
    const length = Math.min(1, (matched * blockTokens) / matchLengthScaleTokens);
    const ratio = Math.min(1, matched / totalBlocks);
    out[i] = matchLengthWeight * length * length + (1 - matchLengthWeight) * ratio;
  }
}

export const prefixCacheScorer = defineScorer({
  type: "prefix-cache-scorer",
  ranksByLoad: true,
  params: z.strictObject({
    prefixMatchInfoProducerName: z.string().default("").describe("Who tells what is cached where"),
    ...matchValueParams,
  }),
  consumes: ({ prefixMatchInfoProducerName: producer }) => [{ key: "prefix-match", producer }],
  create({ prefixMatchInfoProducerName, ...value }) {
    const producer = producerOf("prefix-match", prefixMatchInfoProducerName);
    return {
      score: (context, out) =>
        scoreMatches(context, context.data.get("prefix-match", producer), value, out),
    };
  },
});

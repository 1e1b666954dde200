// mm-embeddings-cache-scorer: prefer endpoints that have encoded the request's images, audio and video
// before.
//
//   score[i] = matchedSize[i] / totalSize       0 for a request without media
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/multimodal. It sees no load: pair it
// with load scorers. What was encoded long ago may be evicted by now. O(n), no allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { defineScorer } from "../../plugin.ts";

export const mmEmbeddingsCacheScorer = defineScorer({
  type: "mm-embeddings-cache-scorer",
  params: z.strictObject({
    producerName: z.string().default("").describe("Who tells what has been encoded where"),
  }),
  consumes: ({ producerName: producer }) => [{ key: "media-match", producer }],
  create({ producerName }) {
    const producer = producerOf("media-match", producerName);
    return {
      score({ data, candidates, candidateCount }, out) {
        const match = data.get("media-match", producer);
        if (match === undefined || match.totalSize === 0) {
          out.fill(0, 0, candidateCount);
          return;
        }
        for (let i = 0; i < candidateCount; i++)
          out[i] = Math.min(1, match.matchedSize[candidates[i]!]! / match.totalSize);
      },
    };
  },
});

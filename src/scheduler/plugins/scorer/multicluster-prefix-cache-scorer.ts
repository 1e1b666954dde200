// multicluster-prefix-cache-scorer: prefer clusters that hold more of the prompt, where each endpoint is
// a cluster.
//
//   as prefix-cache-scorer, of what multicluster-approx-prefix-cache-producer tells
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/prefix/multicluster.go. A block that a
// cluster holds is held by one of its endpoints, and only the cluster's own router finds that one.
// O(n), no allocation.

import { z } from "zod";
import { defineScorer } from "../../plugin.ts";
import { matchValueParams, scoreMatches } from "./prefix-cache-scorer.ts";

const DEFAULT_PRODUCER = "multicluster-approx-prefix-cache-producer";

export const multiclusterPrefixCacheScorer = defineScorer({
  type: "multicluster-prefix-cache-scorer",
  stability: "alpha",
  params: z.strictObject({
    prefixMatchInfoProducerName: z
      .string()
      .default(DEFAULT_PRODUCER)
      .describe("Who tells what is cached where"),
    ...matchValueParams,
  }),
  consumes: ({ prefixMatchInfoProducerName: producer }) => [{ key: "prefix-match", producer }],
  create: ({ prefixMatchInfoProducerName: producer, ...value }) => ({
    score: (context, out) =>
      scoreMatches(context, context.data.get("prefix-match", producer), value, out),
  }),
});

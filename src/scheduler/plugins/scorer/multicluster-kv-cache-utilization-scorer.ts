// multicluster-kv-cache-utilization-scorer: prefer clusters with free KV blocks, where each endpoint is
// a cluster.
//
//   score[i] = 1 - utilization[i]       0 where it is not known
//
// utilization is `llm-d.ai/multicluster-kv-cache-utilization`, 0..1.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/kvcacheutilization/multicluster.go.
// The number is the mean over a cluster's endpoints: a cluster with one full endpoint and one empty one
// looks like a cluster with two half full ones. O(n), no allocation.

import { z } from "zod";
import { defineScorer } from "../../plugin.ts";
import { scoreLinearly } from "./endpoint-attribute-scorer.ts";

const SCALE = {
  attributeKey: "llm-d.ai/multicluster-kv-cache-utilization",
  isLowerBetter: true,
  range: { min: 0, max: 1 },
};

export const multiclusterKvCacheUtilizationScorer = defineScorer({
  type: "multicluster-kv-cache-utilization-scorer",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({ score: (context, out) => scoreLinearly(context, SCALE, out) }),
});

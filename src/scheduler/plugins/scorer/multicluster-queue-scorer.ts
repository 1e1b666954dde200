// multicluster-queue-scorer: prefer clusters with shorter queues, where each endpoint is a cluster.
//
//   score[i] = (max - queue[i]) / (max - min)     1 for all when max == min
//
// over the candidates whose `llm-d.ai/multicluster-queue-size` is known; the others score 0.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/queuedepth/multicluster.go. The
// number is the mean over a cluster's endpoints: it hides one that is free, and says nothing of a
// cluster's size. O(n), no allocation.

import { z } from "zod";
import { defineScorer } from "../../plugin.ts";
import { scoreLinearly } from "./endpoint-attribute-scorer.ts";

const SCALE = { attributeKey: "llm-d.ai/multicluster-queue-size", isLowerBetter: true };

export const multiclusterQueueScorer = defineScorer({
  type: "multicluster-queue-scorer",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({ score: (context, out) => scoreLinearly(context, SCALE, out) }),
});

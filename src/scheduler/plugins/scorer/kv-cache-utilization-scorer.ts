// kv-cache-utilization-scorer: prefer endpoints with free KV blocks.
//
//   score[i] = 1 - kvUsage[i]       0 without a fresh sample
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/kvcacheutilization. Absolute, so
// it says little while every cache is nearly empty, and idle cached blocks do not count as used.
// O(n), no allocation.

import { z } from "zod";
import { isFresh } from "../../freshness.ts";
import { defineScorer } from "../../plugin.ts";

export const kvCacheUtilizationScorer = defineScorer({
  type: "kv-cache-utilization-scorer",
  ranksByLoad: true,
  params: z.strictObject({}),
  create: () => ({
    score(context, out) {
      const { candidates, candidateCount } = context;
      const { kvUsage } = context.endpoints;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        out[i] = isFresh(context, slot) ? Math.min(1, Math.max(0, 1 - kvUsage[slot]!)) : 0;
      }
    },
  }),
});

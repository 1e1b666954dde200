// metrics-freshness-filter: keep the candidates we know most about.
//
//   tier 0: a fresh sample · tier 1: a stale sample · tier 2: never sampled
//
// Keeps the best tier that has a candidate, so an engine that stopped reporting receives requests
// only when every other one has stopped too.
//
// Source: docs/architecture.md, "Missing or stale is worse, never idle". llm-d has no such filter;
// its scorers see an endpoint that was never scraped as idle. It misleads when one collector of
// several is slow: its endpoints starve, though they may be idle. O(n), no allocation.

import { z } from "zod";
import { isFresh } from "../../freshness.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";

function tierOf(context: PickContext, slot: number): number {
  if (isFresh(context, slot)) return 0;
  return context.endpoints.sampledAtMs[slot]! === -Infinity ? 2 : 1;
}

export const metricsFreshnessFilter = defineFilter({
  type: "metrics-freshness-filter",
  keepsUsable: true,
  params: z.strictObject({}),
  create: () => ({
    filter(context) {
      const { candidates, candidateCount } = context;
      let best = 2;
      for (let i = 0; i < candidateCount; i++)
        best = Math.min(best, tierOf(context, candidates[i]!));
      let kept = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        if (tierOf(context, slot) === best) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});

// pool-slow-start-filter: give a pool that has just come (back) its share by and by.
//
//   removed with probability 1 − admission[i], unless that would remove every candidate
//
// admission rises from 0.1 to 1 over slowStartMs; pools/service-record.ts has it. A cost that falls would not
// do: an empty pool beside full ones is the cheapest by far, whatever is added, and would be sent
// everything at once.
//
// Source: Envoy's slow start; docs/decisions/042-choosing-a-pool.md. Put it behind pool-state-filter and
// pool-model-filter, and before pool-failover-tier-filter, pool-freshness-filter and pool-saturation-filter: behind
// those, the only pool of its tier, or the only one that is not full, would be sent everything. O(n), no
// allocation.

import { z } from "zod";
import { lotOf, saltOf, shareOf } from "../../lots.ts";
import { defineFilter } from "../../plugin.ts";

export const poolSlowStartFilter = defineFilter({
  type: "pool-slow-start-filter",
  stability: "fairlead",
  params: z.strictObject({}),
  create: () => ({
    filter({ candidates, candidateCount, pools, rng }) {
      if (pools === undefined) return candidateCount;
      const salt = saltOf(rng);
      const { admission } = pools;
      const isIn = (slot: number) => shareOf(lotOf(slot, salt)) < admission[slot]!;
      let admitted = 0;
      for (let i = 0; i < candidateCount; i++) if (isIn(candidates[i]!)) admitted++;
      if (admitted === 0 || admitted === candidateCount) return candidateCount;
      let kept = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        if (isIn(slot)) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});

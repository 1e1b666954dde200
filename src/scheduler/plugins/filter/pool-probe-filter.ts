// pool-probe-filter: let a pool whose breaker is half-open have its one request.
//
//   kept: the half-open pools, where there are any among the candidates
//
// A pool that is far or cold would never be the cheapest, and so never be asked whether it is back. Its
// breaker lets one request through at a time, and the next one after a lease: that is what it costs. A
// probe that fails before the first byte is tried elsewhere.
//
// Source: half-open states of breakers (Nygard, Release It!). Put it behind the filters that say what is as
// good as the others: a pool that nobody would use is not asked. O(n), no allocation.

import { z } from "zod";
import { defineFilter } from "../../plugin.ts";
import { BREAKER } from "../../pools/pool-columns.ts";

export const poolProbeFilter = defineFilter({
  type: "pool-probe-filter",
  stability: "fairlead",
  params: z.strictObject({}),
  create: () => ({
    filter({ candidates, candidateCount, pools }) {
      if (pools === undefined) return candidateCount;
      const { breaker } = pools;
      let probed = 0;
      for (let i = 0; i < candidateCount; i++)
        if (breaker[candidates[i]!] === BREAKER.halfOpen) probed++;
      if (probed === 0 || probed === candidateCount) return candidateCount;
      let kept = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        if (breaker[slot] === BREAKER.halfOpen) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});

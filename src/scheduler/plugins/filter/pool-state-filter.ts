// pool-state-filter: leave out pools that are drained, and those that cannot answer while others can.
//
//   drained                          removed, also where nobody is left: it is the operator's word
//   breaker open, or no endpoints    removed while somebody else is left
//
// A pool whose breaker is half-open stays: pool-probe-filter sends it the one request that it may get.
// That a pool has no endpoints is its own fresh word; of one that says nothing it is not known.
//
// Source: docs/decisions/042-choosing-a-pool.md. Put it first: what it removes cannot serve, what others
// remove only serves worse. It misleads where an isolate has lost its own way to a pool that is well.
// O(n), no allocation. Nothing is removed where slots are not pools.

import { z } from "zod";
import { defineFilter } from "../../plugin.ts";
import { BREAKER, FRESHNESS, type PoolColumns } from "../../pools/pool-columns.ts";

function isOut(pools: PoolColumns, slot: number): boolean {
  const isGone = pools.isEmpty[slot] === 1 && pools.freshness[slot] === FRESHNESS.fresh;
  return isGone || pools.breaker[slot] === BREAKER.open;
}

export const poolStateFilter = defineFilter({
  type: "pool-state-filter",
  stability: "fairlead",
  params: z.strictObject({}),
  create: () => ({
    filter({ candidates, candidateCount, pools }) {
      if (pools === undefined) return candidateCount;
      let kept = 0;
      let standing = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        if (pools.isDrained[slot] === 1) continue;
        candidates[kept++] = slot;
        if (!isOut(pools, slot)) standing++;
      }
      if (standing === 0 || standing === kept) return kept;
      const count = kept;
      kept = 0;
      for (let i = 0; i < count; i++) {
        const slot = candidates[i]!;
        if (!isOut(pools, slot)) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});

// pool-saturation-filter: keep the pools that have room.
//
//   removed: full by their own detector, or have just answered that they are overloaded
//            unless that would remove every candidate
//
// Full is from saturation 1 until it is below 0.95 again. That a pool has answered 429 is remembered for a
// second. Where all are full, all are kept, and the one with the shortest predicted wait costs the least.
//
// Source: SkyLB's selective pushing (other regions are asked where the own one is full); dynamo#14210 for
// what comes of a mark without an end. O(n), no allocation.

import { z } from "zod";
import { defineFilter } from "../../plugin.ts";
import type { PoolColumns } from "../../pools/pool-columns.ts";

function hasRoom({ isFull, isOverloaded }: PoolColumns, slot: number): boolean {
  return isFull[slot] === 0 && isOverloaded[slot] === 0;
}

export const poolSaturationFilter = defineFilter({
  type: "pool-saturation-filter",
  stability: "fairlead",
  params: z.strictObject({}),
  create: () => ({
    filter({ candidates, candidateCount, pools }) {
      if (pools === undefined) return candidateCount;
      let roomy = 0;
      for (let i = 0; i < candidateCount; i++) if (hasRoom(pools, candidates[i]!)) roomy++;
      if (roomy === 0 || roomy === candidateCount) return candidateCount;
      let kept = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        if (hasRoom(pools, slot)) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});

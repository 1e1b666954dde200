// pool-model-filter: keep the pools whose engines list the model, or the adapter of that name.
//
//   removed: the pool lists models, and neither these nor its active adapters have the request's
//            unless that would remove every candidate
//
// Which pools come into question at all the configuration says. What engines list is younger: a model that
// is being rolled out is in the configuration before it is everywhere.
//
// Source: docs/decisions/042-choosing-a-pool.md. A pool that lists nothing, or more than a summary has
// room for, is believed to be as configured. It misleads where a pool's own rewrites make another
// model of the name: all pools are alike in that, and so all are kept. O(n), no allocation.

import { z } from "zod";
import { defineFilter } from "../../plugin.ts";

export const poolModelFilter = defineFilter({
  type: "pool-model-filter",
  stability: "fairlead",
  params: z.strictObject({}),
  create: () => ({
    filter({ candidates, candidateCount, pools, request }) {
      if (pools === undefined) return candidateCount;
      let able = 0;
      for (let i = 0; i < candidateCount; i++) {
        if (pools.lists(candidates[i]!, request.model) !== false) able++;
      }
      if (able === 0 || able === candidateCount) return candidateCount;
      let kept = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        if (pools.lists(slot, request.model) !== false) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});

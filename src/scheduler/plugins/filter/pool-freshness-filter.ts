// pool-freshness-filter: keep the pools that most is known about.
//
//   fresh    told load and members at most staleAfterMs ago
//   stale    longer ago, up to ten times that
//   silent   even longer ago, or never
//
// Keeps the best of these that has a candidate: who tells nothing comes after whoever tells something, and
// is never taken for idle. Where nobody is fresh, the best that there is serves.
//
// Source: Dynamo's Global View (a missing load is a tier of its own, never zero); metrics-freshness-filter
// does the same among endpoints. O(n), no allocation.

import { z } from "zod";
import { defineFilter } from "../../plugin.ts";
import { keepLeast } from "../../pools/keep-least.ts";

export const poolFreshnessFilter = defineFilter({
  type: "pool-freshness-filter",
  stability: "fairlead",
  params: z.strictObject({}),
  create: () => ({
    filter: (context) =>
      context.pools === undefined
        ? context.candidateCount
        : keepLeast(context, context.pools.freshness),
  }),
});

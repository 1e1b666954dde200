// pool-failover-tier-filter: keep the pools of the lowest failover tier that is left.
//
//   kept: failoverTier[i] = min over the candidates
//
// Source: docs/configuration.md, `failoverTier`. The operator's order goes before what is only not known
// or slow: behind pool-state-filter, and before pool-freshness-filter and pool-saturation-filter, a
// higher tier is used where no usable pool of a lower one is left, and not where one is stale or full. Put it
// behind pool-slow-start-filter, too, so that a lower tier that comes back is not sent everything at once.
// O(n), no allocation.

import { z } from "zod";
import { defineFilter } from "../../plugin.ts";
import { keepLeast } from "../../pools/keep-least.ts";

export const poolFailoverTierFilter = defineFilter({
  type: "pool-failover-tier-filter",
  stability: "fairlead",
  params: z.strictObject({}),
  create: () => ({
    filter: (context) =>
      context.pools === undefined
        ? context.candidateCount
        : keepLeast(context, context.pools.failoverTier),
  }),
});

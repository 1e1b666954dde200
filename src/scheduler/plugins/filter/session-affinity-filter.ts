// session-affinity-filter: keep the endpoint that the request's session is bound to.
//
//   bound endpoint among the candidates: it alone      otherwise: all
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/sessionaffinity.
// session-affinity.ts says how a session is bound. It sees no load: a session whose endpoint is
// overwhelmed stays there until a filter before this one removes the endpoint. Put ejection-filter and
// metrics-freshness-filter first. O(n), no allocation for each endpoint.

import { isCandidate } from "../../candidates.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";
import { createSessionAffinity, sessionAffinityTraits } from "../../session-affinity.ts";

/** Keeps `bound` alone, where it is a candidate. */
function keepBound(context: PickContext, bound: number): number {
  if (bound < 0 || !isCandidate(context, bound)) return context.candidateCount;
  context.candidates[0] = bound;
  return 1;
}

export const sessionAffinityFilter = defineFilter({
  type: "session-affinity-filter",
  stability: "alpha",
  ...sessionAffinityTraits,
  create: (params) => {
    const affinity = createSessionAffinity(params);
    return {
      ...affinity.events,
      filter: (context) => keepBound(context, affinity.boundSlot(context)),
    };
  },
});

// session-affinity-scorer: prefer the endpoint that the request's session is bound to.
//
//   score[i] = 1 for the bound endpoint, 0 for the others
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/sessionaffinity.
// session-affinity.ts says how a session is bound. Its weight is what a session is worth: when the other
// scorers say more against the bound endpoint, this request goes elsewhere, and with `session_id` the
// session stays bound where it was. O(n), no allocation for each endpoint.

import { defineScorer } from "../../plugin.ts";
import { createSessionAffinity, sessionAffinityTraits } from "../../session-affinity.ts";

export const sessionAffinityScorer = defineScorer({
  type: "session-affinity-scorer",
  stability: "alpha",
  ...sessionAffinityTraits,
  create: (params) => {
    const affinity = createSessionAffinity(params);
    return {
      ...affinity.events,
      score(context, out) {
        const { candidates, candidateCount } = context;
        const bound = affinity.boundSlot(context);
        for (let i = 0; i < candidateCount; i++) out[i] = candidates[i] === bound ? 1 : 0;
      },
    };
  },
});

// slow-start-filter: give an endpoint that has just come (back) its share by and by.
//
//   age[i] = nowMs − the latest of: it came, its engine started anew, its ejection ended
//   removed with probability 1 − max(0.1, age[i] / windowMs)    unless that would remove every candidate,
//                                                               or every candidate is that young
//
// An empty endpoint beside full ones is the cheapest by far: it would be sent a burst of prompts, none of which
// it has cached, before its first sample tells how it does. Where all are young, such as after a pool's start,
// none has anything to be spared for.
//
// Source: Envoy's slow start (aggression 1, minimum weight 10%). The plugin is ours: llm-d sends a new endpoint
// its whole share at once. Put it behind the filters for who can be reached at all. It misleads in a pool that
// was scaled up because it is full: the new endpoint takes windowMs to help. O(n), no allocation.

import { z } from "zod";
import { wholeNumber } from "../../config/whole-number.ts";
import { lotOf, saltOf, shareOf } from "../../lots.ts";
import { endpointAgeMs } from "../../endpoint-age.ts";
import { defineFilter } from "../../plugin.ts";

const SHARE_MIN = 0.1;

export const slowStartFilter = defineFilter({
  type: "slow-start-filter",
  keepsUsable: true,
  stability: "fairlead",
  params: z.strictObject({
    windowMs: wholeNumber(0, 3_600_000)
      .default(10_000)
      .describe("How long an endpoint takes to get its whole share; 0: no time"),
  }),
  create: ({ windowMs }) => ({
    filter(context) {
      const { candidates, candidateCount, rng } = context;
      let young = 0;
      for (let i = 0; i < candidateCount; i++) {
        if (endpointAgeMs(context, candidates[i]!) < windowMs) young++;
      }
      if (young === 0 || young === candidateCount) return candidateCount;
      const salt = saltOf(rng);
      let kept = 0;
      // Those that are not young stay: somebody is always left.
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        const share = Math.max(SHARE_MIN, endpointAgeMs(context, slot) / windowMs);
        if (share >= 1 || shareOf(lotOf(slot, salt)) < share) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});

// max-score-picker: the best totals first, ties in random order.
//
//   out = the maxNumOfEndpoints candidates with the highest totals
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/picker/maxscore (shuffle, then stable
// sort). A tie is broken by one random number a candidate, which gives every tied candidate the same
// chance. Near-ties are not ties: a difference of 1e-9 always decides. O(n·k) for k endpoints.

import { z } from "zod";
import { definePicker, type PickContext } from "../../plugin.ts";
import type { Rng } from "../../support/rng.ts";

const params = z.strictObject({
  maxNumOfEndpoints: z
    .int()
    .min(1)
    .max(8)
    .default(1)
    .describe("Endpoints returned, best first; the relay tries them in order"),
});

/** Index of the best total that is not taken, each tied one with the same chance. */
function bestNotTaken(totals: Float64Array, taken: Uint8Array, count: number, rng: Rng): number {
  let best = -1;
  let ties = 0;
  for (let i = 0; i < count; i++) {
    if (taken[i] === 1) continue;
    if (best === -1 || totals[i]! > totals[best]!) {
      best = i;
      ties = 1;
    } else if (totals[i] === totals[best]) {
      // Reservoir sampling: the k-th tied candidate replaces the winner with probability 1/k.
      ties++;
      if (rng() * ties < 1) best = i;
    }
  }
  return best;
}

export const maxScorePicker = definePicker({
  type: "max-score-picker",
  params,
  create: ({ maxNumOfEndpoints }) => {
    let taken = new Uint8Array(0);
    return {
      pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number {
        const count = context.candidateCount;
        if (taken.length < count) taken = new Uint8Array(context.candidates.length);
        taken.fill(0, 0, count);
        const wanted = Math.min(maxNumOfEndpoints, count, out.length);
        for (let picked = 0; picked < wanted; picked++) {
          const best = bestNotTaken(totals, taken, count, rng);
          taken[best] = 1;
          out[picked] = context.candidates[best]!;
        }
        return wanted;
      },
    };
  },
});

// max-score-picker: the best totals first, ties in random order.
//
//   out = the maxNumOfEndpoints candidates with the highest totals
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/picker/maxscore (shuffle, then stable
// sort). A tie goes to the larger lot, and a candidate's lot depends on the seed and its slot alone:
// every tied candidate has the same chance, and who else took part does not matter. Near-ties are not
// ties: a difference of 1e-9 always decides. O(n·k) for k endpoints.

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

/** A candidate's lot in this decision. No two slots have the same: every step can be undone. */
function lotOf(slot: number, salt: number): number {
  let lot = (slot ^ salt) >>> 0;
  lot = Math.imul(lot ^ (lot >>> 16), 0x21f0aaad);
  lot = Math.imul(lot ^ (lot >>> 15), 0x735a2d97);
  return (lot ^ (lot >>> 15)) >>> 0;
}

interface Draw {
  readonly candidates: Int32Array;
  readonly totals: Float64Array;
  readonly taken: Uint8Array;
  readonly salt: number;
}

/** Index of the best of the first `count` totals that is not taken. */
function bestNotTaken({ candidates, totals, taken, salt }: Draw, count: number): number {
  let best = -1;
  for (let i = 0; i < count; i++) {
    if (taken[i] === 1) continue;
    const isBetter =
      best === -1 ||
      totals[i]! > totals[best]! ||
      (totals[i] === totals[best] && lotOf(candidates[i]!, salt) > lotOf(candidates[best]!, salt));
    if (isBetter) best = i;
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
        const draw = { candidates: context.candidates, totals, taken, salt: rng() * 2 ** 32 };
        for (let picked = 0; picked < wanted; picked++) {
          const best = bestNotTaken(draw, count);
          taken[best] = 1;
          out[picked] = context.candidates[best]!;
        }
        return wanted;
      },
    };
  },
});

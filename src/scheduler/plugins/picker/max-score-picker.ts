// max-score-picker: the best totals first, ties in random order.
//
//   out = the maxNumOfEndpoints candidates with the highest totals
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/picker/maxscore (shuffle, then stable
// sort). A tie goes to the larger lot; see lots.ts. Near-ties are not ties: a difference of 1e-9
// always decides. O(n·k) for k endpoints, no allocation.

import { BestCandidates, pickerNotes, pickerParams, saltOf, wantedOf } from "../../lots.ts";
import { definePicker } from "../../plugin.ts";

export const maxScorePicker = definePicker({
  type: "max-score-picker",
  params: pickerParams,
  notes: pickerNotes,
  create: (given) => {
    const wanted = wantedOf(given);
    const best = new BestCandidates();
    return {
      pick: (context, totals, rng, out) =>
        best.take(context, totals, { salt: saltOf(rng), wanted }, out),
    };
  },
});

// random-picker: any candidates, in random order.
//
//   out = the maxNumOfEndpoints candidates with the largest lots
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/picker/random. Scores are without effect:
// filters alone say who may be chosen. lots.ts says how lots are drawn. O(n·k) for k endpoints.

import { BestCandidates, pickerNotes, pickerParams, saltOf, wantedOf } from "../../lots.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { definePicker } from "../../plugin.ts";

/** Everybody's rank: only lots decide. */
const EQUAL = new Float64Array(ENDPOINTS_MAX);

export const randomPicker = definePicker({
  type: "random-picker",
  params: pickerParams,
  notes: pickerNotes,
  create: (given) => {
    const wanted = wantedOf(given);
    const best = new BestCandidates();
    return {
      pick: (context, _totals, rng, out) =>
        best.take(context, EQUAL, { salt: saltOf(rng), wanted }, out),
    };
  },
});

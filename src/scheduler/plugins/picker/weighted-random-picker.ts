// weighted-random-picker: the more a candidate scores, the more likely it is chosen.
//
//   key[i] = u[i]^(1 / total[i])       u[i] uniform in (0, 1); 0 for a total of 0 or less
//   out    = the maxNumOfEndpoints candidates with the largest keys, ties by lot
//
// The first is candidate i with probability total[i] / Σ total. Where all totals are 0 it is
// random-picker.
//
// Source: A-Res of Efraimidis and Spirakis (2006); llm-d-router
// pkg/epp/framework/plugins/scheduling/picker/weightedrandom. Compared is ln(u) / total, which orders
// alike and does not become 0 for small totals, as u^(1/total) does. u comes from the lot; see lots.ts.
// Only ratios count: totals {8, 9} are nearly a coin's toss, so pair it with scorers that differ
// clearly. O(n·k) for k endpoints, no allocation.

import {
  BestCandidates,
  lotOf,
  pickerNotes,
  pickerParams,
  saltOf,
  shareOf,
  wantedOf,
} from "../../lots.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { definePicker, type PickContext, type Picker } from "../../plugin.ts";
import type { Rng } from "../../support/rng.ts";

class WeightedRandomPicker implements Picker {
  readonly #wanted: number;
  readonly #best = new BestCandidates();
  readonly #logKeys = new Float64Array(ENDPOINTS_MAX);

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number {
    const { candidates, candidateCount } = context;
    const salt = saltOf(rng);
    for (let i = 0; i < candidateCount; i++) {
      const total = totals[i]!;
      const share = shareOf(lotOf(candidates[i]!, salt));
      this.#logKeys[i] = total > 0 ? Math.log(share) / total : -Infinity;
    }
    return this.#best.take(context, this.#logKeys, { salt, wanted: this.#wanted }, out);
  }
}

export const weightedRandomPicker = definePicker({
  type: "weighted-random-picker",
  params: pickerParams,
  notes: pickerNotes,
  create: (given) => new WeightedRandomPicker(wantedOf(given)),
});

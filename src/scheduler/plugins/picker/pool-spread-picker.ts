// pool-spread-picker: mostly the best pool, and near-ties in proportion to what pools can take.
//
//   P(i) ∝ usable[i] · total[i] ^ sharpness
//
//   key[i] = ln usable[i] + sharpness · ln total[i] − ln(−ln u[i])     u[i] uniform in (0, 1)
//   out    = the maxNumOfEndpoints candidates with the largest keys
//
// With pool-cost-scorer, total = scale / (scale + cost): a pool is e times less likely for each
// (scale + cost) / sharpness that it costs more. With the defaults, 100 ms and 20, that is 5 ms where pools cost
// nothing, 10 ms at 100 ms, 55 ms at a second: a few milliseconds, or a few percent. Pools that cost alike are
// sent what they can take, and many isolates that look at the same summary do not all go to the one that is
// best by a hair; 100 ms more at a cost of 100 ms happens once in 3,300.
//
// Source: the multinomial logit, drawn by Gumbel's trick, which orders those behind the first by the same
// chances; weighted-random-picker draws alike. Dynamo's softmax temperature is the same without capacity.
// u comes from the lot; see lots.ts. O(n·k) for k pools, no allocation.

import { z } from "zod";
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
import { COST_DEFAULTS } from "../../pools/cost-defaults.ts";
import type { Rng } from "../../support/rng.ts";

const params = z.strictObject({
  ...pickerParams.shape,
  sharpness: z
    .number()
    .min(1)
    .max(1_000)
    .default(COST_DEFAULTS.sharpness)
    .describe("The larger, the rather only the best pool is chosen"),
});
type Params = z.output<typeof params>;

class PoolSpreadPicker implements Picker {
  readonly #sharpness: number;
  readonly #wanted: number;
  readonly #best = new BestCandidates();
  readonly #keys = new Float64Array(ENDPOINTS_MAX);

  constructor(given: Params) {
    this.#sharpness = given.sharpness;
    this.#wanted = wantedOf(given);
  }

  pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number {
    const { candidates, candidateCount, pools } = context;
    const salt = saltOf(rng);
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      const luck = -Math.log(-Math.log(shareOf(lotOf(slot, salt))));
      const capacity = pools === undefined ? 0 : Math.log(pools.usable[slot]!);
      const total = totals[i]!;
      this.#keys[i] = total > 0 ? capacity + this.#sharpness * Math.log(total) + luck : -Infinity;
    }
    return this.#best.take(context, this.#keys, { salt, wanted: this.#wanted }, out);
  }
}

export const poolSpreadPicker = definePicker({
  type: "pool-spread-picker",
  stability: "fairlead",
  params,
  notes: pickerNotes,
  create: (given) => new PoolSpreadPicker(given),
});

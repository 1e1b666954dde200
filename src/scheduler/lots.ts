// Chance among candidates, for pickers: each draws a lot, and the greatest rank wins, then the greatest
// lot.
//
// A candidate's lot depends on the seed and its slot alone. So every candidate has the same chance, the
// same seed gives the same choice, and who else takes part does not matter: a candidate that was not
// chosen can be left out of a record. O(n·k) for k endpoints, no allocation.

import { z } from "zod";
import type { PickContext } from "./plugin.ts";
import type { Rng } from "./support/rng.ts";

/** Endpoints that a picker returns at most. */
const ENDPOINTS_PICKED_MAX = 8;

/** Parameters of every picker. As in llm-d a number below 1 counts as 1. */
export const pickerParams = z.strictObject({
  maxNumOfEndpoints: z
    .int()
    .default(1)
    .overwrite((count) => Math.max(1, count))
    .describe("Endpoints returned, best first; the relay tries them in order"),
});

/** How many a picker takes of as many as are asked for. */
export function wantedOf({ maxNumOfEndpoints }: z.output<typeof pickerParams>): number {
  return Math.min(ENDPOINTS_PICKED_MAX, maxNumOfEndpoints);
}

/** Sentences for whoever configures a picker. */
export function pickerNotes({ maxNumOfEndpoints }: z.output<typeof pickerParams>): string[] {
  return maxNumOfEndpoints <= ENDPOINTS_PICKED_MAX
    ? []
    : [`maxNumOfEndpoints: ${ENDPOINTS_PICKED_MAX} are returned at most.`];
}

const LOTS = 2 ** 32;

/** Different in each decision. */
export function saltOf(rng: Rng): number {
  return rng() * LOTS;
}

/** A candidate's lot in this decision. No two slots have the same: every step can be undone. */
export function lotOf(slot: number, salt: number): number {
  let lot = (slot ^ salt) >>> 0;
  lot = Math.imul(lot ^ (lot >>> 16), 0x21f0aaad);
  lot = Math.imul(lot ^ (lot >>> 15), 0x735a2d97);
  return (lot ^ (lot >>> 15)) >>> 0;
}

/** The lot as a number in (0, 1). */
export function shareOf(lot: number): number {
  return (lot + 0.5) / LOTS;
}

/** Takes the candidates with the greatest ranks; one a picker, for it owns a mark per candidate. */
export class BestCandidates {
  #taken = new Uint8Array(0);

  /** Writes `wanted` slots, or all there are, into `out`, best first. `ranks[i]` is candidates[i]'s. */
  take(
    { candidates, candidateCount }: PickContext,
    ranks: Float64Array,
    draw: { readonly salt: number; readonly wanted: number },
    out: Int32Array,
  ): number {
    if (this.#taken.length < candidateCount) this.#taken = new Uint8Array(candidates.length);
    this.#taken.fill(0, 0, candidateCount);
    const count = Math.min(draw.wanted, candidateCount, out.length);
    for (let picked = 0; picked < count; picked++) {
      let best = -1;
      for (let i = 0; i < candidateCount; i++) {
        if (this.#taken[i] === 1) continue;
        if (best === -1 || ranks[i]! > ranks[best]!) best = i;
        else if (ranks[i] === ranks[best]) {
          const isLuckier = lotOf(candidates[i]!, draw.salt) > lotOf(candidates[best]!, draw.salt);
          if (isLuckier) best = i;
        }
      }
      this.#taken[best] = 1;
      out[picked] = candidates[best]!;
    }
    return count;
  }
}

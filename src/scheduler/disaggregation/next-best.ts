// Who comes after those that a profile has chosen: pickers of llm-d's configurations choose one endpoint, and a
// prefill that fails there is to be had elsewhere.

import type { PickContext } from "../plugin.ts";

type Scored = Pick<PickContext, "candidates" | "candidateCount">;

/**
 * The candidate with the greatest total that is not among `chosen`; -1 where all are. Of equal ones the
 * first in slot order behind the choice, so that not all that fail go to the same one.
 */
// Hot path: once a profile of a pool that has several. No allocation.
export function nextBest(
  { candidates, candidateCount }: Scored,
  totals: Float64Array,
  chosen: Int32Array,
): number {
  const first = chosen[0] ?? 0;
  let best = -1;
  let isBehind = false;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (chosen.includes(slot)) continue;
    const isBetter = best === -1 || totals[i]! > totals[best]!;
    const isTie = best !== -1 && totals[i]! === totals[best]! && slot > first && !isBehind;
    if (!isBetter && !isTie) continue;
    best = i;
    isBehind = slot > first;
  }
  return best === -1 ? -1 : candidates[best]!;
}

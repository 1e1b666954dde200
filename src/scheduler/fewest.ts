// Min-max scaling of a load: what llm-d's queue and running-requests scorers share.
//
//   score[i] = (max - load[i]) / (max - min)     1.0 for all when max == min
//
// over the candidates whose load is known; 0 for the others. O(n), no allocation.

import { isFresh } from "./freshness.ts";
import type { PickContext } from "./plugin.ts";

/** Scores the candidates by `load`, a column of the engines' samples: fewer is better. */
export function scoreFewest(
  context: PickContext,
  load: Int32Array | Float64Array,
  out: Float64Array,
): void {
  const { candidates, candidateCount } = context;
  let min = Infinity;
  let max = -Infinity;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (!isFresh(context, slot)) continue;
    if (load[slot]! < min) min = load[slot]!;
    if (load[slot]! > max) max = load[slot]!;
  }
  const span = max - min;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (!isFresh(context, slot)) out[i] = 0;
    else out[i] = span === 0 ? 1 : (max - load[slot]!) / span;
  }
}

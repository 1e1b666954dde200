// Power of two choices: where there is nothing to score by but loads that may be old.
//
//   order = random, but the less loaded of the first two comes first
//
// Two random choices spread load nearly as well as the least loaded of all, and do not herd on old
// information, as the least loaded would.
//
// Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001).

import type { Rng } from "./support/rng.ts";

/** At most `count` of `candidates` (indices into `loads`), in the order to try them. */
export function chooseOfTwo(
  candidates: readonly number[],
  loads: readonly number[],
  count: number,
  rng: Rng,
): number[] {
  const left = [...candidates];
  const chosen: number[] = [];
  while (chosen.length < count && left.length > 0) {
    chosen.push(...left.splice(Math.floor(rng() * left.length), 1));
  }
  const [first, second] = chosen;
  if (second !== undefined && loads[second]! < loads[first!]!) {
    chosen[0] = second;
    chosen[1] = first!;
  }
  return chosen;
}

// What most filters of pools do: keep those that nothing speaks against, or all where there is nobody.

import type { PickContext } from "../plugin.ts";

/** Compacts the candidates to those with the least `rank`. Returns how many are left. O(n), no allocation. */
export function keepLeast(
  { candidates, candidateCount }: PickContext,
  rank: ArrayLike<number>,
): number {
  let least = Infinity;
  for (let i = 0; i < candidateCount; i++) least = Math.min(least, rank[candidates[i]!]!);
  let kept = 0;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (rank[slot] === least) candidates[kept++] = slot;
  }
  return kept;
}

// pool-sample-filter: look at a few pools only, drawn anew for each request.
//
//   kept: the `size` candidates with the largest lots; all where size is 0
//
// Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001). Many edges that look
// at the same old summaries do not all go to the same pool where each looks at others. It misleads where a
// few pools are much nearer or hold the prompt: half of the requests do not see them. lots.ts says how lots
// are drawn. O(n·d) for d pools, no allocation.

import { z } from "zod";
import { lotOf, saltOf } from "../../lots.ts";
import { defineFilter, type Filter, type PickContext } from "../../plugin.ts";
import { POOLS_MAX } from "../../pools/bounds.ts";

const params = z.strictObject({
  size: z
    .int()
    .min(0)
    .max(POOLS_MAX)
    .optional()
    .describe("Pools that are looked at; 0: all. Absent: routing.sampleSize"),
});

class PoolSampleFilter implements Filter {
  readonly #size: number | undefined;

  constructor(size: number | undefined) {
    this.#size = size;
  }

  filter({ candidates, candidateCount, pools, rng }: PickContext): number {
    const size = this.#size ?? pools?.policy.sampleSize ?? 0;
    if (pools === undefined || size === 0 || candidateCount <= size) return candidateCount;
    const salt = saltOf(rng);
    // The least lot that is kept: each round finds the largest below the one before.
    let bound = Infinity;
    for (let drawn = 0; drawn < size; drawn++) {
      let largest = -1;
      for (let i = 0; i < candidateCount; i++) {
        const lot = lotOf(candidates[i]!, salt);
        if (lot < bound && lot > largest) largest = lot;
      }
      bound = largest;
    }
    let kept = 0;
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      if (lotOf(slot, salt) >= bound) candidates[kept++] = slot;
    }
    return kept;
  }
}

export const poolSampleFilter = defineFilter({
  type: "pool-sample-filter",
  stability: "fairlead",
  params,
  create: ({ size }) => new PoolSampleFilter(size),
});

// Choices that look at nothing but where pools are.

import type { PoolChoiceDefinition } from "../choice.ts";
import { ranked } from "./ranking.ts";

export const nearest: PoolChoiceDefinition = {
  name: "nearest",
  about: "The region's own pool; farther ones only where it refuses.",
  create({ rttMs }) {
    const order = ranked(rttMs.length, (pool) => rttMs[pool]!);
    return { choose: () => order };
  },
};

/** As good as a region can be on its own: its pool sees engines as they are, at no delay. */
export const regionalOptimum: PoolChoiceDefinition = {
  ...nearest,
  name: "regional optimum",
  about: "The region's own pool, which knows its engines' queues, caches and answers' lengths.",
  isOracleInside: true,
};

export const roundRobin: PoolChoiceDefinition = {
  name: "round robin",
  about: "Each isolate goes round the pools.",
  create({ rttMs, rng }) {
    let next = Math.floor(rng() * rttMs.length);
    return {
      choose() {
        const first = next++;
        return rttMs.map((_, i) => (first + i) % rttMs.length);
      },
    };
  },
};

// nearest, then spill: the region's own pool while its endpoints have nobody waiting, else the one of
// those that have nobody waiting which holds most of the prompt.
//
// Source: SkyWalker (arXiv 2505.24095), "selective pushing". What pools hold is known by their digests, where
// its balancers keep tries of what they sent.

import type { PoolChoiceDefinition } from "../choice.ts";
import { InFlight } from "./least-loaded.ts";
import { loadOf, ranked } from "./ranking.ts";

/** Mean requests that wait at an endpoint: below, some endpoint has nobody waiting. */
const PENDING_MAX = 1;

export const nearestThenSpill: PoolChoiceDefinition = {
  name: "nearest, spill",
  about:
    "SkyWalker's: the region's own pool until requests wait there, then the free one with most of the prompt.",
  readsDigests: true,
  create(context) {
    const { rttMs } = context;
    const inFlight = new InFlight(context);
    const byDistance = ranked(rttMs.length, (pool) => rttMs[pool]!);
    const isFree = (pool: number): boolean =>
      (loadOf(inFlight.pools[pool])?.queueDepth ?? Infinity) < PENDING_MAX;
    return {
      choose({ inference }) {
        const free = byDistance.filter(isFree);
        const held = (pool: number): number =>
          inFlight.pools[pool]?.digest?.matchedBlocks(inference.keys) ?? 0;
        const first = free.includes(byDistance[0]!)
          ? byDistance[0]!
          : (free.toSorted((a, b) => held(b) - held(a))[0] ?? inFlight.order()[0]!);
        inFlight.sent(first);
        return [first, ...byDistance.filter((pool) => pool !== first)];
      },
      read: (pools) => inFlight.read(pools),
    };
  },
};

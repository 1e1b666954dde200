// sticky with override: a session stays with its pool while that is not full, and begins at the nearest.
//
//   leaves where saturation ≥ 1, for the least loaded pool, and stays there
//
// All isolates know of a session where it is, as they would by a cookie.

import type { PoolChoiceDefinition } from "../choice.ts";
import { InFlight } from "./least-loaded.ts";
import { loadOf, ranked } from "./ranking.ts";

const FULL = 1;

export const stickyWithOverride: PoolChoiceDefinition = {
  name: "sticky, override",
  about: "Sessions stay with their pool, at first the nearest, unless its saturation is 1 or more.",
  create(context) {
    const { rttMs, homes } = context;
    const inFlight = new InFlight(context);
    const byDistance = ranked(rttMs.length, (pool) => rttMs[pool]!);
    const isFull = (pool: number): boolean =>
      (loadOf(inFlight.pools[pool])?.saturation ?? Infinity) >= FULL;
    return {
      choose({ session }) {
        const home = homes.get(session) ?? byDistance[0]!;
        const first = isFull(home) ? inFlight.order()[0]! : home;
        homes.set(session, first);
        inFlight.sent(first);
        return [first, ...byDistance.filter((pool) => pool !== first)];
      },
      read: (pools) => inFlight.read(pools),
    };
  },
};

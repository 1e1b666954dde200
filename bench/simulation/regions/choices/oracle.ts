// Knows every engine of every region as it is, at no delay: a mark to aim at, and no upper bound, since it
// chooses greedily.

import type { PoolChoiceDefinition } from "../choice.ts";
import { ranked } from "./ranking.ts";

/** To the pool's object and to its relay. */
const ROUND_TRIPS = 2;

export const oracleOfAll: PoolChoiceDefinition = {
  name: "oracle",
  about: "Knows all engines' queues, caches and answers' lengths, everywhere and at once.",
  isOracleInside: true,
  create: ({ rttMs, sites }) => ({
    choose: (request) =>
      ranked(
        rttMs.length,
        (pool) => ROUND_TRIPS * rttMs[pool]! + sites[pool]!.oracleCostMs(request),
      ),
  }),
};

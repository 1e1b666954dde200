// Every choice among pools that is compared, ours first.

import { hub } from "./choices/hub.ts";
import { leastLoaded } from "./choices/least-loaded.ts";
import { nearest, regionalOptimum, roundRobin } from "./choices/nearest.ts";
import { oracleOfAll } from "./choices/oracle.ts";
import { shippedChoice } from "./choices/shipped.ts";
import { nearestThenSpill } from "./choices/spill.ts";
import { stickyWithOverride } from "./choices/sticky.ts";
import type { PoolChoiceDefinition } from "./choice.ts";

export const CHOICES: readonly PoolChoiceDefinition[] = [
  shippedChoice(),
  nearest,
  roundRobin,
  leastLoaded,
  stickyWithOverride,
  nearestThenSpill,
  hub,
  regionalOptimum,
  oracleOfAll,
];

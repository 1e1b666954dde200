// What happens to three regions.

import type { Slo } from "../workload.ts";
import type { Outage } from "./simulation.ts";
import { DIURNAL, type Shares } from "./workload.ts";

export interface RegionalScenario {
  readonly name: string;
  readonly about: string;
  /** Requests a second, all regions together. */
  readonly rate: number;
  readonly shares: Shares;
  readonly outages?: readonly Outage[];
}

/** Prompts are long, 12,000 tokens in the mean and 85,000 of one in a hundred. */
export const SLO: Slo = { ttftMs: 5_000, tpotMs: 100 };

/** A pool of eight engines alone serves about six of these requests a second, and more the fewer sessions it has. */
const POOL_RATE = 6;

/** Longer than any run. */
const FLAPPING_MS = 600_000;
const FLAP_MS = 10_000;
/** Its pool comes and goes. */
const FLAPPING_POOL = 1;

function flaps(): readonly Outage[] {
  return Array.from({ length: FLAPPING_MS / (2 * FLAP_MS) }, (_, i) => {
    const fromMs = (2 * i + 1) * FLAP_MS;
    return { pool: FLAPPING_POOL, fromMs, untilMs: fromMs + FLAP_MS };
  });
}

export const SCENARIOS: readonly RegionalScenario[] = [
  {
    name: "night",
    about: "A day at half of what the pools can do: no region is ever full",
    rate: 1.5 * POOL_RATE,
    shares: DIURNAL,
  },
  {
    name: "day",
    about:
      "A day at nine tenths: each region has its noon, with 1.6 times what its pool can do alone",
    rate: 2.75 * POOL_RATE,
    shares: DIURNAL,
  },
  {
    name: "overload",
    about:
      "us is sent 1.7 times what its pool can do alone, the others two fifths of what theirs can",
    rate: 2.5 * POOL_RATE,
    shares: () => [2 / 3, 1 / 6, 1 / 6],
  },
  {
    name: "flapping",
    about:
      "A day at half; eu's pool is gone for ten seconds of each twenty, with all that it was at",
    rate: 1.5 * POOL_RATE,
    shares: DIURNAL,
    outages: flaps(),
  },
];

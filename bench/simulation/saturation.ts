// Finds a workload's saturation rate: the highest at which a policy keeps nine of ten requests
// within the SLO.

import { figuresOf } from "./outcome.ts";
import { DEFAULT_SHAPE } from "./pool-shape.ts";
import type { PolicyDefinition } from "./policy.ts";
import { simulate } from "./simulation.ts";
import type { Workload } from "./workload.ts";

const GOOD_SHARE = 0.9;
const SEEDS = [1, 2] as const;
/** Around the rate the workload declares. */
const FACTOR_MIN = 1 / 4;
const FACTOR_MAX = 4;
/** Of the bisection: its result is within 4^(1/128) of the true rate. */
const ROUNDS = 8;

/** Requests a second, by bisection in the logarithm. */
export function findSaturationRate(workload: Workload, policy: PolicyDefinition): number {
  let low = workload.saturationRate * FACTOR_MIN;
  let high = workload.saturationRate * FACTOR_MAX;
  for (let round = 0; round < ROUNDS; round++) {
    const rate = Math.sqrt(low * high);
    if (goodShare(workload, policy, rate) >= GOOD_SHARE) low = rate;
    else high = rate;
  }
  return low;
}

function goodShare(workload: Workload, policy: PolicyDefinition, rate: number): number {
  let sum = 0;
  for (const seed of SEEDS) {
    const phases = workload.create(rate, seed);
    const result = simulate({ shape: DEFAULT_SHAPE, policy, phases, seed });
    const { goodput, offered } = figuresOf(result, workload.slo);
    sum += goodput / offered;
  }
  return sum / SEEDS.length;
}

// Random lengths and times, as inference-perf draws them.
//
// Source: inference-perf inference_perf/utils/numeric/distribution/utils.py. A lognormal is matched
// to mean and deviation before it is clipped, so that what comes out has another mean.

import { standardNormal } from "../../src/agents/simulator/model/timing.ts";
import type { Rng } from "../../src/scheduler/support/rng.ts";

export interface Distribution {
  readonly kind: "lognormal" | "normal" | "uniform";
  readonly min: number;
  readonly max: number;
  /** Not of `uniform`. */
  readonly mean?: number;
  readonly stdDev?: number;
}

/** A draw, clipped to [min, max]. */
export function draw(distribution: Distribution, rng: Rng): number {
  const { kind, min, max, mean = 0, stdDev = 0 } = distribution;
  if (kind === "uniform") return min + rng() * (max - min);
  if (kind === "normal") return clip(mean + stdDev * standardNormal(rng), min, max);
  const variance = Math.log(1 + (stdDev / mean) ** 2);
  const location = Math.log(mean) - variance / 2;
  return clip(Math.exp(location + Math.sqrt(variance) * standardNormal(rng)), min, max);
}

/** The same in whole numbers. */
export function drawCount(distribution: Distribution, rng: Rng): number {
  return Math.round(draw(distribution, rng));
}

/** Knuth's method for small means, in parts for large ones. */
export function drawPoisson(mean: number, rng: Rng): number {
  let count = 0;
  for (let rest = mean; rest > 0; rest -= POISSON_PART) {
    const limit = Math.exp(-Math.min(rest, POISSON_PART));
    for (let product = rng(); product > limit; product *= rng()) count++;
  }
  return count;
}
const POISSON_PART = 30;

/** An exponentially distributed number of mean 1. */
export function drawExponential(rng: Rng): number {
  return -Math.log(1 - rng());
}

/** Shuffles in place (Fisher and Yates). Gives the array. */
export function shuffle<T>(items: T[], rng: Rng): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(rng() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

function clip(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

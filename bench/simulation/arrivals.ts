// When requests come. Source: inference-perf inference_perf/loadgen/load_timer.py.

import type { Rng } from "../../src/scheduler/support/rng.ts";
import { drawExponential, drawPoisson } from "./distributions.ts";

/**
 * `count` times in ms, in order, at `rate` a second: for each second a number from the Poisson
 * distribution, spread by exponential gaps that exactly fill the second.
 */
export function poissonTimes(rate: number, count: number, rng: Rng): number[] {
  const times: number[] = [];
  for (let second = 0; times.length < count; second++) {
    const arrivals = drawPoisson(rate, rng);
    const gaps = Array.from({ length: arrivals }, () => drawExponential(rng));
    const sum = gaps.reduce((total, gap) => total + gap, 0);
    let at = 0;
    for (const gap of gaps) {
      at += gap / sum;
      if (times.length < count) times.push((second + at) * 1_000);
    }
  }
  return times;
}

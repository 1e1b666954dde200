import { expect, it } from "vitest";
import { poissonTimes } from "../../../bench/simulation/arrivals.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

it("gives as many times as asked for, in order, at the rate", () => {
  const times = poissonTimes(20, 10_000, createRng(1));
  expect(times).toHaveLength(10_000);
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(times.at(-1)! / 1_000).toBeGreaterThan(480);
  expect(times.at(-1)! / 1_000).toBeLessThan(520);
});

it("fills each second, and draws its number from the Poisson distribution", () => {
  const times = poissonTimes(9, 9_500, createRng(2));
  const counts = Array.from({ length: 900 }, () => 0);
  for (const atMs of times) {
    const second = Math.ceil(atMs / 1_000) - 1;
    if (second < counts.length) counts[second]! += 1;
  }
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / counts.length;
  // Of a Poisson distribution the variance is the mean.
  expect(variance / mean).toBeGreaterThan(0.8);
  expect(variance / mean).toBeLessThan(1.2);
});

import { describe, expect, it } from "vitest";
import {
  type Distribution,
  draw,
  drawCount,
  drawPoisson,
  shuffle,
} from "../../../bench/simulation/distributions.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

function meanAndDeviation(of: () => number): { mean: number; stdDev: number } {
  const values = Array.from({ length: 50_000 }, of);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, stdDev: Math.sqrt(squares / values.length) };
}

describe("draw", () => {
  it.for<{ name: string; distribution: Distribution; mean: number; stdDev: number }>([
    {
      name: "a lognormal is matched to mean and deviation",
      distribution: { kind: "lognormal", min: 0, max: 1e9, mean: 1_500, stdDev: 1_200 },
      mean: 1_500,
      stdDev: 1_200,
    },
    {
      name: "a normal likewise",
      distribution: { kind: "normal", min: -1e9, max: 1e9, mean: 300, stdDev: 150 },
      mean: 300,
      stdDev: 150,
    },
    {
      name: "a uniform goes from min to max",
      distribution: { kind: "uniform", min: 10, max: 22 },
      mean: 16,
      stdDev: 12 / Math.sqrt(12),
    },
  ])("$name", ({ distribution, mean, stdDev }) => {
    const rng = createRng(1);
    const found = meanAndDeviation(() => draw(distribution, rng));
    expect(found.mean / mean).toBeCloseTo(1, 1);
    expect(found.stdDev / stdDev).toBeCloseTo(1, 1);
  });

  it("clips, which moves the mean", () => {
    const rng = createRng(1);
    const turns = { kind: "lognormal", min: 1, max: 3_000, mean: 540, stdDev: 48_600 } as const;
    const { mean } = meanAndDeviation(() => drawCount(turns, rng));
    expect(mean).toBeLessThan(200);
    const values = Array.from({ length: 5_000 }, () => drawCount(turns, rng));
    expect(Math.min(...values)).toBe(1);
    expect(Math.max(...values)).toBe(3_000);
    expect(values.every(Number.isInteger)).toBe(true);
  });
});

it.for([0.3, 5, 60, 200])("drawPoisson has mean and variance %d", (rate) => {
  const rng = createRng(3);
  const { mean, stdDev } = meanAndDeviation(() => drawPoisson(rate, rng));
  expect(mean / rate).toBeCloseTo(1, 1);
  expect(stdDev ** 2 / rate).toBeCloseTo(1, 1);
});

it("shuffle keeps every item, and leaves few in place", () => {
  const items = Array.from({ length: 100 }, (_, i) => i);
  const shuffled = shuffle([...items], createRng(1));
  expect(shuffled.toSorted((a, b) => a - b)).toEqual(items);
  expect(shuffled.filter((item, i) => item === i).length).toBeLessThan(10);
});

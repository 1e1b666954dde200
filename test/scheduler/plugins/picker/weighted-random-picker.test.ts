import { describe, expect, it } from "vitest";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPicker } from "../../support/plugins.ts";

const RUNS = 10_000;

/** How often each candidate comes at each of the first ranks. */
function countsOf(totals: readonly number[], ranks = 1): number[][] {
  const picker = createPicker("weighted-random-picker", { maxNumOfEndpoints: ranks });
  const context = pickContext(totals.map(() => ({})));
  const rng = createRng(5);
  const out = new Int32Array(8);
  const counts = Array.from({ length: ranks }, () => totals.map(() => 0));
  for (let run = 0; run < RUNS; run++) {
    expect(picker.pick(context, Float64Array.from(totals), rng, out)).toBe(ranks);
    for (let rank = 0; rank < ranks; rank++) counts[rank]![out[rank]!]! += 1;
  }
  return counts;
}

/** Five standard deviations of the widest spread. */
const TOLERANCE = 250;

/** How far the count that is farthest from its share is from it. */
function deviationOf(counts: readonly number[], shares: readonly number[]): number {
  return Math.max(...counts.map((count, i) => Math.abs(count - shares[i]! * RUNS)));
}

describe("weighted-random-picker", () => {
  it.for([
    { name: "shares by total", totals: [1, 2, 5], want: [1 / 8, 2 / 8, 5 / 8] },
    { name: "whatever their size", totals: [1e-4, 3e-4], want: [1 / 4, 3 / 4] },
    { name: "evenly where all are 0", totals: [0, 0, 0, 0], want: [1 / 4, 1 / 4, 1 / 4, 1 / 4] },
    { name: "nothing to a total of 0", totals: [0, 1, 1], want: [0, 1 / 2, 1 / 2] },
    { name: "nothing to less than that", totals: [-1, 1], want: [0, 1] },
  ])("$name", ({ totals, want }) => {
    expect(deviationOf(countsOf(totals)[0]!, want)).toBeLessThanOrEqual(TOLERANCE);
  });

  it("draws the second from those that are left, by their totals", () => {
    const [, second] = countsOf([2, 1, 1], 2);
    // P(0 second) = Σ over the first of its share × 0's share of the rest.
    const zero = 2 * (1 / 4) * (2 / 3);
    expect(deviationOf(second!, [zero, (1 - zero) / 2, (1 - zero) / 2])).toBeLessThanOrEqual(
      TOLERANCE,
    );
  });

  it("puts candidates with a total of 0 behind all others", () => {
    const [first, second] = countsOf([0, 1e-9, 0], 2);
    expect(first).toEqual([0, RUNS, 0]);
    expect(deviationOf(second!, [1 / 2, 0, 1 / 2])).toBeLessThanOrEqual(TOLERANCE);
  });
});

import { expect, it } from "vitest";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const rows = (...admissions: number[]) => admissions.map((admission) => ({ pool: { admission } }));

function keptShare(admissions: number[], slot: number): number {
  let kept = 0;
  for (let seed = 0; seed < 1_000; seed++) {
    const context = { ...pickContext(rows(...admissions)), rng: createRng(seed) };
    if (keptBy("pool-slow-start-filter", {}, context).includes(slot)) kept++;
  }
  return kept / 1_000;
}

it("keeps each pool as often as its admission says", () => {
  expect(keptShare([1, 0.3], 1)).toBeCloseTo(0.3, 1);
  expect(keptShare([1, 0.3], 0)).toBe(1);
  expect(keptShare([1, 0], 1)).toBe(0);
});

it("keeps all where nobody is admitted, and where slots are no pools", () => {
  expect(keptBy("pool-slow-start-filter", {}, pickContext(rows(0, 0)))).toEqual([0, 1]);
  expect(keptBy("pool-slow-start-filter", {}, pickContext([{}, {}]))).toEqual([0, 1]);
});

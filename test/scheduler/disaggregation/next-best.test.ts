import { expect, it } from "vitest";
import { nextBest } from "../../../src/scheduler/disaggregation/next-best.ts";

const next = (totals: readonly number[], chosen: readonly number[], slots = [...totals.keys()]) =>
  nextBest(
    { candidates: Int32Array.from(slots), candidateCount: totals.length },
    Float64Array.from(totals),
    Int32Array.from(chosen),
  );

it.for([
  { name: "the second best", totals: [1, 3, 2], chosen: [1], want: 2 },
  { name: "whoever is left of several choices", totals: [1, 3, 2, 4], chosen: [3, 1], want: 2 },
  { name: "a better one that chance had passed over", totals: [9, 3], chosen: [1], want: 0 },
  { name: "nobody where all are chosen", totals: [1, 2], chosen: [1, 0], want: -1 },
  { name: "nobody where nobody is", totals: [], chosen: [], want: -1 },
  { name: "of equal ones the next slot", totals: [1, 1, 1, 1], chosen: [1], want: 2 },
  { name: "of equal ones the first behind the last", totals: [1, 1, 1], chosen: [2], want: 0 },
  { name: "a better one before an equal one behind", totals: [5, 1, 4], chosen: [1], want: 0 },
])("is $name", ({ totals, chosen, want }) => {
  expect(next(totals, chosen)).toBe(want);
});

it("names slots, not places", () => {
  expect(next([1, 2, 3], [30], [10, 20, 30])).toBe(20);
});

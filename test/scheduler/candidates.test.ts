import { describe, expect, it } from "vitest";
import {
  isCandidate,
  keepCandidates,
  keepCandidatesOrAll,
  labelsOf,
} from "../../src/scheduler/candidates.ts";
import { pickContext } from "./support/pick-context.ts";

const ROWS = [{}, {}, {}, { labels: { a: "b" } }];
const isOdd = (_: unknown, slot: number) => slot % 2 === 1;
const never = () => false;

describe("candidates", () => {
  it("keeps those that are asked for, in their order", () => {
    const context = pickContext(ROWS);
    expect(keepCandidates(context, isOdd)).toBe(2);
    expect([...context.candidates.subarray(0, 2)]).toEqual([1, 3]);
  });

  it("keeps nobody, or all if so asked", () => {
    const context = pickContext(ROWS);
    expect(keepCandidates(context, never)).toBe(0);
    expect(keepCandidatesOrAll(context, never)).toBe(4);
    expect([...context.candidates]).toEqual([0, 1, 2, 3]);
    expect(keepCandidatesOrAll(context, isOdd)).toBe(2);
  });

  it("knows a candidate from what a filter has left behind in the buffer", () => {
    const context = pickContext(ROWS);
    context.candidateCount = keepCandidates(context, isOdd);
    expect([0, 1, 2, 3].map((slot) => isCandidate(context, slot))).toEqual([
      false,
      true,
      false,
      true,
    ]);
  });

  it("gives labels, and none for a slot that is not known", () => {
    const context = pickContext(ROWS);
    expect(labelsOf(context, 3)).toEqual({ a: "b" });
    expect(labelsOf(context, 9)).toEqual({});
    expect(labelsOf(context, -1)).toEqual({});
  });
});

import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

function scores(active: readonly number[], params: object = {}): number[] {
  const rows = active.map((inFlightRequests) => ({ inFlightRequests }));
  return scoresOf(createScorer("active-request-scorer", params), pickContext(rows));
}

describe("active-request-scorer", () => {
  it.for([
    {
      name: "scales down to the busiest",
      active: [0, 1, 2, 4],
      params: {},
      want: [1, 0.75, 0.5, 0],
    },
    { name: "is neutral when all are idle", active: [0, 0], params: {}, want: [1, 1] },
    { name: "gives nothing when all are as busy", active: [3, 3], params: {}, want: [0, 0] },
    { name: "counts few as idle", active: [2, 4], params: { idleThreshold: 2 }, want: [1, 0] },
    {
      name: "keeps the busy below",
      active: [0, 2, 4],
      params: { maxBusyScore: 0.4 },
      want: [1, 0.2, 0],
    },
    {
      name: "takes a bound out of range as 1",
      active: [1, 2],
      params: { maxBusyScore: 7 },
      want: [0.5, 0],
    },
  ])("$name", ({ active, params, want }) => {
    expect(scores(active, params)).toEqual(want);
  });

  it("knows nothing, and says so, without its producer", () => {
    const context = { ...pickContext([{}, {}]), data: { get: () => undefined } };
    expect(scoresOf(createScorer("active-request-scorer"), context)).toEqual([0, 0]);
  });

  it("counts the ledger, however old the samples are", () => {
    const context = pickContext([{ ageMs: Infinity }, { inFlightRequests: 1 }]);
    expect(scoresOf(createScorer("active-request-scorer"), context)).toEqual([1, 0]);
  });
});

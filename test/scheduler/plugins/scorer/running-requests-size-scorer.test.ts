import { describe, expect, it } from "vitest";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

function scores(rows: readonly EndpointRow[]): number[] {
  return scoresOf(createScorer("running-requests-size-scorer"), pickContext(rows));
}

describe("running-requests-size-scorer", () => {
  it.for([
    { name: "scales from fewest to most", running: [10, 5, 0], want: [0, 0.5, 1] },
    { name: "is neutral when all run as many", running: [3, 3], want: [1, 1] },
    { name: "ignores magnitude", running: [0, 1], want: [1, 0] },
  ])("$name", ({ running, want }) => {
    expect(scores(running.map((runningRequests) => ({ runningRequests })))).toEqual(want);
  });

  it("does not see requests sent since the sample", () => {
    const rows = [{ inFlightRequests: 50 }, { runningRequests: 1 }];
    expect(scores(rows)).toEqual([1, 0]);
  });

  it("gives a stale or never sampled endpoint nothing", () => {
    const rows = [{ ageMs: STALE_AFTER_MS + 1 }, { runningRequests: 9 }, { ageMs: Infinity }];
    expect(scores(rows)).toEqual([0, 1, 0]);
  });
});

import { describe, expect, it } from "vitest";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createScorer } from "../../support/plugins.ts";

const STALE = STALE_AFTER_MS + 1;

function scores(rows: readonly EndpointRow[], candidates?: readonly number[]): number[] {
  const context = pickContext(rows, candidates === undefined ? {} : { candidates });
  const out = new Float64Array(context.candidateCount);
  createScorer("queue-scorer").score(context, out);
  return [...out];
}

describe("queue-scorer", () => {
  it.for([
    { name: "scales linearly from shortest to longest", depths: [10, 5, 0], want: [0, 0.5, 1] },
    { name: "is neutral when all queues are equal", depths: [5, 5], want: [1, 1] },
    { name: "is neutral for one endpoint", depths: [7], want: [1] },
    { name: "ignores magnitude (small)", depths: [0, 1], want: [1, 0] },
    { name: "ignores magnitude (large)", depths: [0, 1000], want: [1, 0] },
  ])("$name", ({ depths, want }) => {
    expect(scores(depths.map((queueDepth) => ({ queueDepth })))).toEqual(want);
  });

  it("gives a stale or never sampled endpoint nothing, and leaves it out of the scale", () => {
    const rows = [
      { queueDepth: 0, ageMs: STALE },
      { queueDepth: 4 },
      { queueDepth: 8 },
      { queueDepth: 100, ageMs: Infinity },
    ];
    expect(scores(rows)).toEqual([0, 1, 0, 0]);
  });

  it("gives nothing to anybody when all samples are stale", () => {
    expect(scores([{ ageMs: STALE }, { ageMs: STALE, queueDepth: 3 }])).toEqual([0, 0]);
  });

  it("scales over candidates only", () => {
    expect(scores([{ queueDepth: 0 }, { queueDepth: 5 }, { queueDepth: 10 }], [1, 2])).toEqual([
      1, 0,
    ]);
  });
});

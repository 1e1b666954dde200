import { describe, expect, it } from "vitest";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

interface Predicted {
  readonly ttft: number;
  readonly tpot?: number;
  readonly dispatched?: number;
}

/** Scores by headrooms; undefined for an endpoint without a prediction. */
function scores(predicted: readonly (Predicted | undefined)[], params: object = {}): number[] {
  const column = (value: (at: Predicted) => number) =>
    Float64Array.from(predicted, (at) => (at === undefined ? 1e9 : value(at)));
  const data = {
    "latency-prediction": {
      isPredicted: Uint8Array.from(predicted, (at) => Number(at !== undefined)),
      ttftMs: column(() => 0),
      tpotMs: column(() => 0),
      ttftHeadroomMs: column(({ ttft }) => ttft),
      tpotHeadroomMs: column(({ tpot }) => tpot ?? 0),
      dispatchedRequests: Int32Array.from(predicted, (at) => at?.dispatched ?? 1),
    },
  };
  const context = pickContext(
    predicted.map(() => ({})),
    { data },
  );
  return scoresOf(createScorer("latency-scorer", params), context);
}

describe("latency-scorer, with predictions", () => {
  const most = { headroomSelectionStrategy: "most" };

  it.for([
    { name: "prefers the least headroom", at: [100, 200, 300], params: {}, want: [1, 0.51, 0.01] },
    {
      name: "prefers the most, where told",
      at: [100, 200, 300],
      params: most,
      want: [0.01, 0.51, 1],
    },
    { name: "scores those that meet it only", at: [-1, 0, 50], params: {}, want: [0, 1, 0.01] },
    { name: "is neutral where all are equal", at: [70, 70], params: {}, want: [0.51, 0.51] },
    { name: "prefers the nearest miss", at: [-10, -110], params: most, want: [1, 0.01] },
  ])("$name", ({ at, params, want }) => {
    const predicted = at.map((ttft) => ({ ttft }));
    expect(scores(predicted, params)).toEqual(want);
  });

  it("weighs the two headrooms against each other", () => {
    const predicted = [
      { ttft: 0, tpot: 10 },
      { ttft: 10, tpot: 0 },
    ];
    expect(scores(predicted)).toEqual([0.81, 0.2]);
    expect(scores(predicted, { ttftWeight: 1, tpotWeight: 3 })).toEqual([0.26, 0.76]);
  });

  it("gives the weight of a dimension in which all are equal to the other", () => {
    const predicted = [
      { ttft: 5, tpot: 0 },
      { ttft: 5, tpot: 10 },
    ];
    expect(scores(predicted)).toEqual([1, 0.01]);
  });

  it("prefers idle endpoints where all miss, then TPOT's misses, TTFT's and both", () => {
    const idle = { ttft: -500, tpot: -500, dispatched: 0 };
    const tpot = { ttft: 1, tpot: -90 };
    const ttft = { ttft: -90, tpot: 1 };
    const both = { ttft: -1, tpot: -1 };
    expect(scores([both, ttft, tpot, idle])).toEqual([0, 0, 0, 0.51]);
    expect(scores([both, ttft, tpot])).toEqual([0, 0, 0.51]);
    expect(scores([both, ttft])).toEqual([0, 0.51]);
    expect(scores([both])).toEqual([0.51]);
  });

  it("takes an endpoint without a prediction last, not for one that meets its objective", () => {
    expect(scores([undefined, { ttft: -1 }])).toEqual([0, 0.51]);
  });
});

describe("latency-scorer, without predictions", () => {
  const composite = (rows: readonly EndpointRow[], params: object = {}) =>
    scoresOf(createScorer("latency-scorer", params), pickContext(rows, { totalBlocks: 4 }));

  it("takes the mean of free memory, queue and cached prefix", () => {
    const rows = [
      { kvUsage: 0.5, queueDepth: 4, matchedBlocks: 4 },
      { kvUsage: 0.1, queueDepth: 2 },
    ];
    expect(composite(rows)).toEqual([0.5, 0.47]);
  });

  it("weighs its parts", () => {
    const rows = [{ kvUsage: 0.5, queueDepth: 4 }, { kvUsage: 1 }];
    const params = { compositeKVWeight: 3, compositeQueueWeight: 1, compositePrefixWeight: 0 };
    expect(composite(rows, params)).toEqual([0.38, 0.25]);
    const none = { compositeKVWeight: 0, compositeQueueWeight: 0, compositePrefixWeight: 0 };
    expect(composite(rows, none)).toEqual([0, 0]);
  });

  it("counts the load of a stale endpoint as full, and its prefix as it is", () => {
    const stale = { ageMs: STALE_AFTER_MS + 1, queueDepth: 90, matchedBlocks: 4 };
    expect(composite([stale, { queueDepth: 9 }, {}])).toEqual([0.33, 0.33, 0.67]);
  });

  it("does so, too, when predictions are for none of the candidates", () => {
    expect(scores([undefined])).toEqual([0.67]);
  });
});

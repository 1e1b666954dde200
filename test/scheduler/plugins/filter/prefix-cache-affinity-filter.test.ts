import { describe, expect, it } from "vitest";
import { findPlugin } from "../../../../src/scheduler/registry.ts";
import {
  type EndpointRow,
  pickContext,
  type PickContextOptions,
} from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const TYPE = "prefix-cache-affinity-filter";
const BLOCKS = { totalBlocks: 10 };

function kept(
  rows: readonly EndpointRow[],
  params: object = {},
  options: PickContextOptions = {},
): number[] {
  return keptBy(TYPE, params, pickContext(rows, { ...BLOCKS, ...options }));
}

describe("prefix-cache-affinity-filter", () => {
  it.for([
    { name: "keeps the holders", matched: [8, 7, 10], want: [0, 2] },
    { name: "keeps all without a holder", matched: [7, 0, 7], want: [0, 1, 2] },
    { name: "keeps a single candidate", matched: [0], want: [0] },
    { name: "keeps all when all hold it", matched: [10, 10], want: [0, 1] },
  ])("$name", ({ matched, want }) => {
    expect(kept(matched.map((matchedBlocks) => ({ matchedBlocks })))).toEqual(want);
  });

  it("keeps all for a prompt shorter than a block, and when it is switched off", () => {
    expect(kept([{}, {}], {}, { totalBlocks: 0 })).toEqual([0, 1]);
    expect(kept([{ matchedBlocks: 10 }, {}], { affinityThreshold: 0 })).toEqual([0, 1]);
  });

  it("weighs blocks by their tier", () => {
    const matchedBlocks = Int32Array.of(10, 10);
    const weightedBlocks = Float64Array.of(7.9, 8);
    const match = { matchedBlocks, weightedBlocks, totalBlocks: 10, blockTokens: 64 };
    expect(kept([{}, {}], {}, { data: { "prefix-match": match } })).toEqual([1]);
  });

  // 15,928 tokens are a second of prefill.
  const holder = (seconds: number) => ({ matchedBlocks: 10, inFlightTokens: 15_928 * seconds });
  const other = (seconds: number) => ({ inFlightTokens: 15_928 * seconds });

  it.for([
    { name: "up to the penalty", rows: [holder(19), other(1)], want: [0] },
    { name: "past the penalty", rows: [holder(20), other(1)], want: [0, 1] },
    { name: "by the best of each", rows: [holder(1), holder(99), other(0)], want: [0, 1] },
    { name: "without others", rows: [holder(99), holder(98)], want: [0, 1] },
    {
      name: "where the others are not known to be idle",
      rows: [holder(99), { ...other(0), ageMs: Infinity }],
      want: [0],
    },
  ])("compares the wait $name", ({ rows, want }) => {
    expect(kept(rows)).toEqual(want);
  });

  it("never lets go without a penalty", () => {
    expect(kept([holder(99), other(0)], { maxTTFTPenaltyMs: 0 })).toEqual([0]);
  });

  it("scales the wait by the throughput it is told", () => {
    expect(kept([holder(10), other(0)], { peakPrefillThroughput: 1_000 })).toEqual([0, 1]);
  });

  describe("with predictions", () => {
    const byTtft = (ttftMs: readonly number[]) => ({
      data: {
        "latency-prediction": {
          isPredicted: Uint8Array.from(ttftMs, (ms) => Number(!Number.isNaN(ms))),
          ttftMs: Float64Array.from(ttftMs),
          tpotMs: new Float64Array(9),
          ttftHeadroomMs: new Float64Array(9),
          tpotHeadroomMs: new Float64Array(9),
          dispatchedRequests: new Int32Array(9),
        },
      },
    });
    const rows = [{ matchedBlocks: 10 }, {}];

    it.for([
      { name: "a small difference", ttftMs: [18_100, 100], want: [0] },
      { name: "a large difference", ttftMs: [18_101, 100], want: [0, 1] },
      { name: "no prediction for the holder", ttftMs: [NaN, 100], want: [0, 1] },
      { name: "no prediction for the others", ttftMs: [99_999, NaN], want: [0] },
      { name: "no prediction at all", ttftMs: [NaN, NaN], want: [0] },
    ])("$name: $want", ({ ttftMs, want }) => {
      expect(kept(rows, { ttftSource: "latencyPredictor" }, byTtft(ttftMs))).toEqual(want);
    });
  });

  it("explores as often as it is told, by the decision's seed", () => {
    const rows = [{ matchedBlocks: 10 }, {}];
    const explored = Array.from({ length: 1_000 }, (_, seed) =>
      kept(rows, { explorationProbability: 0.25 }, { seed }).length === 2 ? 1 : 0,
    ).reduce((sum: number, each) => sum + each, 0);
    expect(Math.abs(explored - 250)).toBeLessThan(70);
    expect(kept(rows, { explorationProbability: 1 })).toEqual([0, 1]);
  });

  it("needs what it reads", () => {
    const plugin = findPlugin(TYPE)!;
    const keys = (given: object) =>
      plugin.consumes!(plugin.params.parse(given)).map(({ key }) => key);
    expect(keys({})).toEqual(["prefix-match", "in-flight-load"]);
    expect(keys({ maxTTFTPenaltyMs: 0 })).toEqual(["prefix-match"]);
    expect(keys({ ttftSource: "latencyPredictor" })).toEqual([
      "prefix-match",
      "latency-prediction",
    ]);
  });

  it.for([
    { affinityThreshold: 1.1 },
    { explorationProbability: -0.1 },
    { maxTTFTPenaltyMs: -1 },
    { peakPrefillThroughput: 0 },
    { ttftSource: "oracle" },
  ])("refuses %j", (params) => {
    expect(accepts(TYPE, params)).toBe(false);
  });

  it("takes no throughput where it needs none", () => {
    expect(accepts(TYPE, { peakPrefillThroughput: 0, ttftSource: "latencyPredictor" })).toBe(true);
    expect(accepts(TYPE, { peakPrefillThroughput: 0, maxTTFTPenaltyMs: 0 })).toBe(true);
  });
});

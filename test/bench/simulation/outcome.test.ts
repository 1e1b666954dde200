import { describe, expect, it } from "vitest";
import {
  figuresOf,
  meanFigures,
  type Outcome,
  quantile,
} from "../../../bench/simulation/outcome.ts";

const SLO = { ttftMs: 1_000, tpotMs: 50 };

function outcome(changes: Partial<Outcome>): Outcome {
  return {
    tenant: "t",
    priority: 0,
    sentAtMs: 0,
    waitMs: 0,
    endedAtMs: 10_000,
    ttftMs: 500,
    tpotMs: 40,
    promptTokens: 100,
    cachedTokens: 50,
    outputTokens: 200,
    isShed: false,
    ...changes,
  };
}

describe("figuresOf", () => {
  const outcomes = [
    outcome({}),
    outcome({ sentAtMs: 1_000, ttftMs: 2_000 }),
    outcome({ sentAtMs: 2_000, tpotMs: 60, cachedTokens: 80 }),
    outcome({ sentAtMs: 4_000, endedAtMs: 4_000, ttftMs: Infinity, isShed: true, outputTokens: 0 }),
  ];
  const figures = figuresOf({ outcomes, imbalance: 1.5, virtualMs: 0 }, SLO);

  it("divides good answers by the time in which requests were sent", () => {
    expect(figures.goodput).toBe(1 / 4);
  });

  it("divides tokens by the time until the last answer", () => {
    expect(figures.output_tokens_s).toBe(600 / 10);
  });

  it("counts a shed request as one that never got a token", () => {
    expect(figures.shed).toBe(1 / 4);
    expect(figures.ttft_p50).toBe(0.5);
    expect(figures.ttft_p90).toBe(Infinity);
    expect(figures.tpot_p99).toBe(0.06);
  });

  it("weighs cache hits by tokens", () => {
    expect(figures.hit_rate).toBe(180 / 300);
  });

  it("averages over runs", () => {
    expect(meanFigures([figures, { ...figures, shed: 0.75 }]).shed).toBe(0.5);
  });
});

it("quantile takes the nearest rank", () => {
  const values = Float64Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect([0, 0.1, 0.11, 0.5, 0.9, 0.99, 1].map((share) => quantile(values, share))).toEqual([
    1, 1, 2, 5, 9, 10, 10,
  ]);
});

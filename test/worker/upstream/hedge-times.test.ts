import { describe, expect, it } from "vitest";
import {
  FirstByteTimes,
  HEDGE_BURST,
  HEDGE_KEYS_MAX,
  HEDGE_SAMPLES_MAX,
  HEDGE_SAMPLES_MIN,
  HedgeBudget,
} from "../../../src/worker/upstream/hedge-times.ts";

describe("times to the first byte", () => {
  const add = (times: FirstByteTimes, count: number, ms: (i: number) => number, pool = "p") => {
    for (let i = 0; i < count; i++) times.add(pool, true, ms(i));
  };

  it("are not known before there are enough", () => {
    const times = new FirstByteTimes();
    add(times, HEDGE_SAMPLES_MIN - 1, () => 5);
    expect(times.percentileMs("p", true, 0.95)).toBeUndefined();
    add(times, 1, () => 5);
    expect(times.percentileMs("p", true, 0.95)).toBe(5);
  });

  it("are those of the pool and the kind", () => {
    const times = new FirstByteTimes();
    add(times, HEDGE_SAMPLES_MIN, () => 5);
    expect(times.percentileMs("q", true, 0.95)).toBeUndefined();
    expect(times.percentileMs("p", false, 0.95)).toBeUndefined();
  });

  it.for([
    { percentile: 0.5, ms: 50 },
    { percentile: 0.95, ms: 95 },
    { percentile: 0.999, ms: 99 },
  ])("have a percentile $percentile", ({ percentile, ms }) => {
    const times = new FirstByteTimes();
    add(times, 100, (i) => (i * 37) % 100);
    expect(times.percentileMs("p", true, percentile)).toBe(ms);
  });

  it("are the latest", () => {
    const times = new FirstByteTimes();
    add(times, HEDGE_SAMPLES_MAX, () => 5);
    expect(times.percentileMs("p", true, 0.5)).toBe(5);
    add(times, HEDGE_SAMPLES_MAX, () => 9);
    expect(times.percentileMs("p", true, 0.5)).toBe(9);
  });

  it("are of a bounded number of pools", () => {
    const times = new FirstByteTimes();
    for (let i = 0; i < HEDGE_KEYS_MAX; i++) add(times, HEDGE_SAMPLES_MIN, () => 5, `p${i}`);
    expect(times.percentileMs("p0", true, 0.5)).toBe(5);
    add(times, 1, () => 5, "one-more");
    expect(times.percentileMs("p0", true, 0.5)).toBeUndefined();
  });
});

describe("the budget of hedges", () => {
  it("is a share of requests", () => {
    const budget = new HedgeBudget();
    let hedges = 0;
    for (let i = 0; i < 1_000; i++) {
      budget.deposit(0.05);
      if (budget.tryWithdraw()) hedges++;
    }
    expect(hedges).toBe(50);
  });

  it("saves up a bounded number", () => {
    const budget = new HedgeBudget();
    for (let i = 0; i < 1_000; i++) budget.deposit(0.5);
    const taken = Array.from({ length: HEDGE_BURST + 1 }, () => budget.tryWithdraw());
    expect(taken.filter(Boolean)).toHaveLength(HEDGE_BURST);
  });
});

import { describe, expect, it } from "vitest";
import {
  median,
  nanosecondsPerAsyncCall,
  nanosecondsPerCall,
  quartileRange,
} from "../../bench/measure.ts";

const TIMING = { rounds: 3, roundMsMin: 2 };

describe("median", () => {
  it.for([
    { values: [3], expected: 3 },
    { values: [9, 1, 3], expected: 3 },
    { values: [9, 1, 3, 4], expected: 3.5 },
  ])("of $values is $expected", ({ values, expected }) => {
    expect(median(values)).toBe(expected);
  });
});

describe("quartileRange", () => {
  it("leaves out what lies far away", () => {
    expect(quartileRange([1, 2, 3, 4, 1_000])).toBe(2);
  });

  it("is nothing for one value", () => {
    expect(quartileRange([7])).toBe(0);
  });
});

describe("nanosecondsPerCall", () => {
  it("is more for a body that does more, waiting or not", async () => {
    let kept = 0;
    const work = (steps: number) => () => {
      for (let i = 0; i < steps; i++) kept = Math.imul(kept + i, 0x5bd1e995);
    };
    const little = nanosecondsPerCall(work(1_000), TIMING);
    const much = nanosecondsPerCall(work(100_000), TIMING);
    const waiting = await nanosecondsPerAsyncCall(async () => work(100_000)(), TIMING);
    expect(much).toBeGreaterThan(5 * little);
    expect(waiting).toBeGreaterThan(5 * little);
    expect(kept).not.toBe(0);
  });
});

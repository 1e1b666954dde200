import { describe, expect, it } from "vitest";
import { median, nanosecondsEach, quartileRange } from "../../bench/measure.ts";

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

describe("nanosecondsEach", () => {
  it("is more for a body that does more, waiting or not", async () => {
    let kept = 0;
    const work = (steps: number) => () => {
      for (let i = 0; i < steps; i++) kept = Math.imul(kept + i, 0x5bd1e995);
    };
    const much = work(100_000);
    const ns = await nanosecondsEach(
      { little: work(1_000), much, waiting: async () => much() },
      { rounds: 3, roundMsMin: 2 },
    );
    expect(ns.much).toBeGreaterThan(5 * ns.little);
    expect(ns.waiting).toBeGreaterThan(5 * ns.little);
    expect(kept).not.toBe(0);
  });

  it("waits for a body before it calls it again", async () => {
    let running = 0;
    let mostRunning = 0;
    const body = async () => {
      mostRunning = Math.max(mostRunning, ++running);
      await Promise.resolve();
      running--;
    };
    await nanosecondsEach({ body }, { rounds: 1, roundMsMin: 1 });
    expect(mostRunning).toBe(1);
  });
});

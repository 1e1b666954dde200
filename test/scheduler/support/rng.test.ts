import { describe, expect, it } from "vitest";
import { createRng } from "../../../src/scheduler/support/rng.ts";

describe("createRng", () => {
  it("repeats itself for a seed, and differs for another", () => {
    const draw = (seed: number) => {
      const rng = createRng(seed);
      return Array.from({ length: 5 }, rng);
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it("spreads evenly over [0, 1)", () => {
    const rng = createRng(3);
    const tenths = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 50_000; i++) {
      const value = rng();
      expect(value >= 0 && value < 1).toBe(true);
      tenths[Math.floor(value * 10)]! += 1;
    }
    for (const count of tenths) expect(Math.abs(count - 5_000)).toBeLessThan(350);
  });
});

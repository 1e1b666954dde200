import { describe, expect, it } from "vitest";
import { EndRate } from "../../../src/durable/summary/end-rate.ts";

describe("EndRate", () => {
  it("is what it was lately", () => {
    const rate = new EndRate();
    expect(rate.perSecond(0)).toBe(0);
    for (let ms = 0; ms < 100_000; ms += 50) rate.ended(ms);
    expect(rate.perSecond(100_000)).toBeGreaterThan(19);
    expect(rate.perSecond(100_000)).toBeLessThan(21);
    expect(rate.perSecond(110_000) / rate.perSecond(110_000 - 10_000)).toBeCloseTo(1, 5);
    expect(rate.perSecond(200_000)).toBeLessThan(0.1);
  });
});

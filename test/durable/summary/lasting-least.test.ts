import { describe, expect, it } from "vitest";
import { LastingLeast } from "../../../src/durable/summary/lasting-least.ts";

const NOW_MS = 1_000_000;

describe("what is full right before each sample only", () => {
  it("is not told as full", () => {
    const least = new LastingLeast();
    for (let i = 1; i < 40; i++) {
      const sinceSample = i % 4;
      expect(least.of(0.4 * sinceSample, NOW_MS + 50 * i)).toBeLessThan(1);
    }
  });

  it("is told so within half a second where it stays", () => {
    const least = new LastingLeast();
    least.of(0.2, NOW_MS);
    expect(least.of(1.5, NOW_MS + 250)).toBe(0.2);
    expect(least.of(1.6, NOW_MS + 500)).toBe(1.5);
  });

  it("counts as it is now where nobody has looked for a while", () => {
    const least = new LastingLeast();
    least.of(0.2, NOW_MS);
    expect(least.of(1.5, NOW_MS + 1_000)).toBe(1.5);
    expect(least.of(0.1, NOW_MS + 1_000)).toBe(0.1);
  });
});

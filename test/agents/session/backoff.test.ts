import { expect, it } from "vitest";
import { backoffMs } from "../../../src/agents/session/backoff.ts";

const LIMITS = { baseMs: 250, capMs: 5_000 };

it("doubles the ceiling up to the cap and spreads evenly below it", () => {
  const ceilings = [0, 1, 2, 3, 4, 5, 1_000].map((attempt) => backoffMs(LIMITS, attempt, () => 1));
  expect(ceilings).toEqual([250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  expect(backoffMs(LIMITS, 3, () => 0)).toBe(0);
  expect(backoffMs(LIMITS, 3, () => 0.5)).toBe(1_000);
});

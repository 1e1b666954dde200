import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createFilter } from "../../support/plugins.ts";

const WINDOW_MS = 10_000;
const OLD = {};
const PICKS = 4_000;

/** How often each of `rows` is left in. */
function shares(rows: readonly object[], params: object = {}): number[] {
  const filter = createFilter("slow-start-filter", params);
  const counts = rows.map(() => 0);
  for (let pick = 0; pick < PICKS; pick++) {
    const context = pickContext(rows, { seed: pick });
    const kept = filter.filter(context);
    for (const slot of context.candidates.subarray(0, kept)) counts[slot]!++;
  }
  return counts.map((count) => count / PICKS);
}

describe("slow-start-filter", () => {
  it.for([
    { name: "a new one a tenth", row: { cameAgoMs: 0 }, want: 0.1 },
    { name: "one of half the time a half", row: { cameAgoMs: WINDOW_MS / 2 }, want: 0.5 },
    { name: "one whose ejection has just ended a tenth", row: { ejectedMs: -1 }, want: 0.1 },
    {
      name: "one that came and was ejected by the later",
      row: { cameAgoMs: 9_000, ejectedMs: -5_000 },
      want: 0.5,
    },
    { name: "one past the time all", row: { cameAgoMs: WINDOW_MS }, want: 1 },
  ])("leaves in $name of the time", ({ row, want }) => {
    const [old, young] = shares([OLD, row]);
    expect(old).toBe(1);
    expect(young).toBeGreaterThan(want - 0.04);
    expect(young).toBeLessThan(want + 0.04);
  });

  it("spares nobody where all are young, or one is alone", () => {
    expect(shares([{ cameAgoMs: 0 }, { cameAgoMs: 5_000 }])).toEqual([1, 1]);
    expect(shares([{ cameAgoMs: 0 }])).toEqual([1]);
    expect(shares([])).toEqual([]);
  });

  it("spares nobody for no time", () => {
    expect(shares([OLD, { cameAgoMs: 0 }], { windowMs: 0 })).toEqual([1, 1]);
  });
});

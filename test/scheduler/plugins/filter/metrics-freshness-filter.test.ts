import { describe, expect, it } from "vitest";
import { pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createFilter } from "../../support/plugins.ts";

const FRESH = STALE_AFTER_MS;
const STALE = STALE_AFTER_MS + 1;
const NEVER = Infinity;

describe("metrics-freshness-filter", () => {
  it.for([
    { name: "keeps fresh endpoints only", ages: [NEVER, FRESH, STALE, 0], want: [1, 3] },
    { name: "falls back to stale ones", ages: [NEVER, STALE, 60_000], want: [1, 2] },
    { name: "falls back to never sampled ones", ages: [NEVER, NEVER], want: [0, 1] },
    { name: "keeps a sample from the future", ages: [-50, STALE], want: [0] },
    { name: "starves an idle endpoint of a slow collector", ages: [0, STALE], want: [0] },
    { name: "keeps nothing of nothing", ages: [], want: [] },
  ])("$name", ({ ages, want }) => {
    const context = pickContext(ages.map((ageMs) => ({ ageMs })));
    const kept = createFilter("metrics-freshness-filter").filter(context);
    expect([...context.candidates.subarray(0, kept)]).toEqual(want);
  });

  it("ignores the freshness of endpoints that are not candidates", () => {
    const context = pickContext([{ ageMs: 0 }, { ageMs: STALE }], { candidates: [1] });
    expect(createFilter("metrics-freshness-filter").filter(context)).toBe(1);
    expect(context.candidates[0]).toBe(1);
  });
});

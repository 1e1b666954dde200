import { describe, expect, it } from "vitest";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createScorer } from "../../support/plugins.ts";

describe("kv-cache-utilization-scorer", () => {
  it.for<{ name: string; rows: EndpointRow[]; want: number[] }>([
    {
      name: "scores the free share",
      rows: [{ kvUsage: 0 }, { kvUsage: 0.25 }, { kvUsage: 1 }],
      want: [1, 0.75, 0],
    },
    {
      name: "says little while every cache is nearly empty",
      rows: [{ kvUsage: 0.01 }, { kvUsage: 0.02 }],
      want: [0.99, 0.98],
    },
    {
      name: "gives a stale or never sampled endpoint nothing",
      rows: [
        { kvUsage: 0, ageMs: STALE_AFTER_MS + 1 },
        { kvUsage: 0, ageMs: Infinity },
      ],
      want: [0, 0],
    },
    { name: "stays in range for a usage out of range", rows: [{ kvUsage: 1.5 }], want: [0] },
  ])("$name", ({ rows, want }) => {
    const out = new Float64Array(rows.length);
    createScorer("kv-cache-utilization-scorer").score(pickContext(rows), out);
    expect([...out]).toEqual(want);
  });
});

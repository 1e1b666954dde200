import { describe, expect, it } from "vitest";
import type { SaturationDetector } from "../../../../src/scheduler/flow-control/contracts.ts";
import { concurrencySaturation } from "../../../../src/scheduler/plugins/filter/concurrency-detector.ts";
import { type EndpointRow, pickContext } from "../../support/pick-context.ts";
import { accepts, createPlugin, keptBy } from "../../support/plugins.ts";

const TYPE = "concurrency-detector";
const rows: readonly EndpointRow[] = [
  { inFlightRequests: 1, inFlightTokens: 80 },
  { inFlightRequests: 3, inFlightTokens: 40 },
];

describe("concurrencySaturation", () => {
  const saturation = (concurrencyMode: "requests" | "tokens" | "hybrid", of = rows) => {
    const context = pickContext(of);
    const load = context.data.get("in-flight-load", "")!;
    const limits = { concurrencyMode, maxConcurrency: 4, maxTokenConcurrency: 100 };
    return concurrencySaturation(context, load, limits);
  };

  it.for([
    { mode: "requests", want: 4 / 8 },
    { mode: "tokens", want: 120 / 200 },
    { mode: "hybrid", want: (0.8 + 0.75) / 2 },
  ] as const)("counts $mode", ({ mode, want }) => {
    expect(saturation(mode)).toBeCloseTo(want, 12);
  });

  it("counts what the pool's ledger has, as a detector", () => {
    const detector = createPlugin(TYPE, { maxConcurrency: 4 }) as SaturationDetector;
    expect(detector.saturation(pickContext(rows))).toBe(4 / 8);
  });

  it("may be over 1, and is 1 for nobody", () => {
    expect(saturation("requests", [{ inFlightRequests: 8 }])).toBe(2);
    expect(saturation("hybrid", [])).toBe(1);
  });
});

describe("concurrency-detector as a filter", () => {
  it.for([
    { name: "requests below the limit", params: { maxConcurrency: 3 }, want: [0] },
    {
      name: "tokens below the limit",
      params: { concurrencyMode: "tokens", maxTokenConcurrency: 80 },
      want: [1],
    },
    {
      name: "both below their limits",
      params: { concurrencyMode: "hybrid", maxConcurrency: 3, maxTokenConcurrency: 80 },
      want: [],
    },
    {
      name: "up to the headroom, rounded down",
      params: { maxConcurrency: 2, headroom: 0.9 },
      want: [0],
    },
    { name: "up to a whole headroom", params: { maxConcurrency: 2, headroom: 1 }, want: [0, 1] },
    { name: "nobody where all are full", params: { maxConcurrency: 1 }, want: [] },
  ])("keeps $name", ({ params, want }) => {
    expect(keptBy(TYPE, params, pickContext(rows))).toEqual(want);
  });

  it.for([
    { maxConcurrency: 0 },
    { maxTokenConcurrency: 0 },
    { headroom: -1 },
    { concurrencyMode: "x" },
  ])("refuses %j", (params) => {
    expect(accepts(TYPE, params)).toBe(false);
  });
});

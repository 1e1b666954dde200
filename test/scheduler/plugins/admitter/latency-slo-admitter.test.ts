import { describe, expect, it } from "vitest";
import type { Admitter } from "../../../../src/scheduler/plugin.ts";
import {
  type EndpointRow,
  pickContext,
  type PickContextOptions,
} from "../../support/pick-context.ts";
import { createPlugin } from "../../support/plugins.ts";

/** An endpoint at work, with the headrooms that are predicted for it. */
interface Row extends EndpointRow {
  readonly headrooms?: readonly [number, number];
}

const BUSY = { runningRequests: 3, kvUsage: 0.5 };
const LATE = { ...BUSY, headrooms: [-1, 5] } as const;

function admits(rows: readonly Row[], options: PickContextOptions = {}): boolean {
  const headrooms = rows.map((row) => row.headrooms ?? [NaN, NaN]);
  const column = (of: number) => Float64Array.from(headrooms, (pair) => pair[of]!);
  const context = pickContext(rows, {
    request: { priority: -1, ttftSloMs: 100 },
    data: {
      "latency-prediction": {
        isPredicted: Uint8Array.from(headrooms, ([ttft]) => Number(!Number.isNaN(ttft))),
        ttftMs: column(0),
        tpotMs: column(1),
        ttftHeadroomMs: column(0),
        tpotHeadroomMs: column(1),
        dispatchedRequests: new Int32Array(rows.length),
      },
    },
    ...options,
  });
  return (createPlugin("latency-slo-admitter") as Admitter).admit(context) === undefined;
}

describe("latency-slo-admitter", () => {
  it.for([
    {
      name: "one that is late everywhere",
      rows: [LATE, { ...BUSY, headrooms: [5, -1] }],
      want: false,
    },
    {
      name: "one that somebody serves in time",
      rows: [LATE, { ...BUSY, headrooms: [0, 0] }],
      want: true,
    },
    { name: "one for an idle endpoint", rows: [LATE, { kvUsage: 0.9 }], want: true },
    {
      name: "one for an endpoint that was just sent something",
      rows: [LATE, { kvUsage: 0.9, inFlightRequests: 1 }],
      want: false,
    },
    {
      name: "one for a cold endpoint",
      rows: [LATE, { runningRequests: 1, kvUsage: 0.019 }],
      want: true,
    },
    {
      name: "one for an endpoint that was never sampled",
      rows: [LATE, { ageMs: Infinity }],
      want: false,
    },
    { name: "one without any prediction", rows: [BUSY, BUSY], want: true },
  ] as const)("admits $name: $want", ({ rows, want }) => {
    expect(admits(rows)).toBe(want);
  });

  it("denies sheddable requests with an objective only", () => {
    expect(admits([LATE], { request: { priority: 0, ttftSloMs: 100 } })).toBe(true);
    expect(admits([LATE], { request: { priority: -1 } })).toBe(true);
    expect(admits([LATE], { request: { priority: -1, tpotSloMs: 10 } })).toBe(false);
  });

  it("admits without a producer, and looks at candidates only", () => {
    expect(admits([LATE], { data: {} })).toBe(true);
    expect(admits([LATE, { headrooms: [9, 9] }], { candidates: [0] })).toBe(false);
  });
});

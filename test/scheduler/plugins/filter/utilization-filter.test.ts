import { describe, expect, it } from "vitest";
import { findPlugin } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const TYPE = "utilization-filter";
const only = (metric: string, maxValue: number) => ({ conditions: [{ metric, maxValue }] });

describe("utilization-filter", () => {
  const rows = [
    { inFlightRequests: 2, runningRequests: 9, queueDepth: 0, kvUsage: 0.5 },
    { inFlightRequests: 3, runningRequests: 8, queueDepth: 1, kvUsage: 0.51 },
    { inFlightRequests: 0, ageMs: Infinity },
  ];

  it.for([
    { metric: "active-requests", maxValue: 2, want: [0, 2] },
    { metric: "running-requests", maxValue: 8, want: [1] },
    { metric: "waiting-queue", maxValue: 0, want: [0] },
    { metric: "kv-cache-utilization", maxValue: 0.5, want: [0] },
    { metric: "kv-cache-utilization", maxValue: 1, want: [0, 1] },
  ])("keeps $metric up to $maxValue, of endpoints it knows", ({ metric, maxValue, want }) => {
    expect(keptBy(TYPE, only(metric, maxValue), pickContext(rows))).toEqual(want);
  });

  it("asks for every condition", () => {
    const conditions = [
      { metric: "active-requests", maxValue: 2 },
      { metric: "running-requests", maxValue: 8 },
    ];
    expect(keptBy(TYPE, { conditions }, pickContext(rows))).toEqual([]);
  });

  it("keeps all where nobody is left, if so configured", () => {
    const params = { ...only("running-requests", 0), fallbackOnEmpty: true };
    expect(keptBy(TYPE, params, pickContext(rows))).toEqual([0, 1, 2]);
  });

  it("needs the in-flight load only for active requests", () => {
    const plugin = findPlugin("active-request-filter")!;
    const needs = (metric: string) =>
      plugin.consumes!(
        plugin.params.parse({ ...only(metric, 1), inFlightLoadProducerName: "mine" }),
      );
    expect(needs("active-requests")).toEqual([{ key: "in-flight-load", producer: "mine" }]);
    expect(needs("waiting-queue")).toEqual([]);
  });

  it.for([
    {},
    { conditions: [] },
    only("queue", 1),
    only("waiting-queue", -1),
    only("kv-cache-utilization", 1.1),
    { conditions: [{ metric: "waiting-queue" }] },
  ])("refuses %j", (params) => {
    expect(accepts(TYPE, params)).toBe(false);
  });
});

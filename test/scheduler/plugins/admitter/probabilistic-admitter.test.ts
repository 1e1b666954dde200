import { describe, expect, it } from "vitest";
import type { Admitter } from "../../../../src/scheduler/plugin.ts";
import { type EndpointRow, pickContext } from "../../support/pick-context.ts";
import { accepts, createPlugin } from "../../support/plugins.ts";

const TYPE = "probabilistic-admitter";
const RUNS = 2_000;

/** Of RUNS requests, how many are turned away. */
function deniedOf(rows: readonly EndpointRow[], priority = -1): number {
  const admitter = createPlugin(TYPE) as Admitter;
  let denied = 0;
  for (let seed = 0; seed < RUNS; seed++)
    if (admitter.admit(pickContext(rows, { seed, request: { priority } })) !== undefined) denied++;
  return denied;
}

describe("probabilistic-admitter", () => {
  it.for([
    { name: "nobody in an idle pool", rows: [{}], want: 0 },
    { name: "2.3 % at 0.15", rows: [{ kvUsage: 0.12 }], want: 0.023 },
    { name: "9.6 % at 0.20", rows: [{ queueDepth: 1 }], want: 0.096 },
    { name: "73 % at 0.30", rows: [{ kvUsage: 0.24 }], want: 0.729 },
    { name: "by the mean of the pool", rows: [{ queueDepth: 2 }, {}], want: 0.096 },
    { name: "everybody from 0.32", rows: [{ kvUsage: 0.256 }], want: 1 },
    { name: "everybody where nothing is known", rows: [{ ageMs: Infinity }], want: 1 },
  ])("turns away $name", ({ rows, want }) => {
    // Five standard deviations.
    const tolerance = 5 * Math.sqrt(RUNS * want * (1 - want));
    expect(Math.abs(deniedOf(rows) - RUNS * want)).toBeLessThanOrEqual(tolerance);
  });

  it("admits requests of no negative priority, and leaves an empty pool to others", () => {
    expect(deniedOf([{ queueDepth: 99 }], 0)).toBe(0);
    expect(deniedOf([])).toBe(0);
  });

  it("says why, in numbers", () => {
    const admitter = createPlugin(TYPE) as Admitter;
    const context = pickContext([{ queueDepth: 5 }], { request: { priority: -1 } });
    expect(admitter.admit(context)).toContain(
      "100 % of requests of negative priority at saturation 1.00",
    );
  });

  it.for([{ queueDepthThreshold: 0 }, { kvCacheUtilThreshold: 0 }, { power: 0 }, { k: 0 }])(
    "refuses %j",
    (params) => {
      expect(accepts(TYPE, params)).toBe(false);
    },
  );
});

import { describe, expect, it } from "vitest";
import type { SaturationDetector } from "../../../../src/scheduler/flow-control/contracts.ts";
import { utilizationSaturation } from "../../../../src/scheduler/plugins/filter/utilization-detector.ts";
import { pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { accepts, createPlugin, keptBy } from "../../support/plugins.ts";

const TYPE = "utilization-detector";
const LIMITS = { queueDepthThreshold: 5, kvCacheUtilThreshold: 0.8, staleAfterMs: STALE_AFTER_MS };
const STALE = { ageMs: STALE_AFTER_MS + 1 };
/** As a pool's object has an upstream that publishes no load. */
const UNSAMPLED = { ageMs: -Infinity, queueDepth: 50, kvUsage: 1 };

describe("utilizationSaturation", () => {
  it.for([
    { name: "an idle pool", rows: [{}, {}], want: 0 },
    { name: "the queue", rows: [{ queueDepth: 5 }, {}], want: 0.5 },
    { name: "the cache", rows: [{ kvUsage: 0.4 }], want: 0.5 },
    { name: "the larger of both", rows: [{ queueDepth: 1, kvUsage: 0.8 }], want: 1 },
    { name: "more than full", rows: [{ queueDepth: 15 }], want: 3 },
    {
      name: "a stale sample as full, whatever it says",
      rows: [{ ...STALE, queueDepth: 50 }],
      want: 1,
    },
    {
      name: "an endpoint that was never sampled as full",
      rows: [{ ageMs: Infinity }, {}],
      want: 0.5,
    },
    { name: "no endpoints as full", rows: [], want: 1 },
    {
      name: "nothing of who has no samples by design",
      rows: [UNSAMPLED, { queueDepth: 5 }],
      want: 1,
    },
    { name: "a pool of such as idle", rows: [UNSAMPLED], want: 0 },
  ])("sees $name", ({ rows, want }) => {
    expect(utilizationSaturation(pickContext(rows), LIMITS)).toBeCloseTo(want, 12);
  });

  it.for([
    { name: "leaves stale endpoints out", rows: [STALE, { queueDepth: 10 }], want: 2 },
    { name: "sees a pool that is all stale as idle", rows: [STALE, STALE], want: 0 },
    { name: "still sees a pool without endpoints as full", rows: [], want: 1 },
  ])("$name, if it is told to ignore them", ({ rows, want }) => {
    const detector = createPlugin(TYPE, { stalenessPolicy: "ignore" }) as SaturationDetector;
    expect(detector.saturation(pickContext(rows))).toBe(want);
    expect(detector.staleCount!(pickContext(rows))).toBe(
      rows.filter((row) => row === STALE).length,
    );
  });

  it("looks at the candidates only", () => {
    const context = pickContext([{ queueDepth: 5 }, {}], { candidates: [0] });
    expect(utilizationSaturation(context, LIMITS)).toBe(1);
  });
});

describe("utilization-detector as a filter", () => {
  it.for([
    {
      name: "those with room",
      rows: [{ queueDepth: 4 }, { queueDepth: 5 }, { kvUsage: 0.8 }],
      want: [0],
    },
    { name: "no stale endpoint", rows: [STALE, {}], want: [1] },
    { name: "who has no samples by design", rows: [UNSAMPLED, STALE], want: [0] },
    { name: "all where all are full", rows: [{ queueDepth: 5 }, STALE], want: [0, 1] },
  ])("keeps $name", ({ rows, want }) => {
    expect(keptBy(TYPE, {}, pickContext(rows))).toEqual(want);
  });

  it("raises its limits by the headroom, past 1 for the cache, too", () => {
    const rows = [{ queueDepth: 9 }, { queueDepth: 10 }, { kvUsage: 1 }];
    expect(keptBy(TYPE, { headroom: 1 }, pickContext(rows))).toEqual([0, 2]);
  });

  it("lets a sample be older than the pool would, never younger", () => {
    const rows = [{ ageMs: 5_000 }, { queueDepth: 9 }];
    expect(keptBy(TYPE, { metricsStalenessThreshold: "5s" }, pickContext(rows))).toEqual([0]);
    const young = [{ ageMs: STALE_AFTER_MS }, { queueDepth: 9 }];
    expect(keptBy(TYPE, { metricsStalenessThreshold: "1ms" }, pickContext(young))).toEqual([0]);
  });

  it.for([
    { queueDepthThreshold: 0 },
    { kvCacheUtilThreshold: 0 },
    { kvCacheUtilThreshold: 1.1 },
    { metricsStalenessThreshold: "0s" },
    { metricsStalenessThreshold: "soon" },
    { headroom: -0.1 },
  ])("refuses %j", (params) => {
    expect(accepts(TYPE, params)).toBe(false);
  });
});

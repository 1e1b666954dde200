import { describe, expect, it } from "vitest";
import { REGIONS } from "../../../../bench/simulation/regions/topology.ts";
import { createLoad, DIURNAL } from "../../../../bench/simulation/regions/workload.ts";

const DAY = { rate: 15, shares: DIURNAL, seed: 1, requests: 1_000 };

describe("the conversation trace over regions", () => {
  const load = createLoad(DAY);

  it("is the same for the same seed, and another part of the trace for the next", () => {
    const regions = (of: typeof load) => of.arrivals.map(({ region }) => region);
    expect(regions(createLoad(DAY))).toEqual(regions(load));
    const other = createLoad({ ...DAY, seed: 2 });
    const first = (of: typeof load) => of.arrivals[0]!.session.turns[0]!.request.promptTokens;
    expect(first(other)).not.toBe(first(load));
  });

  it("comes at the rate that is asked for, in order", () => {
    const times = load.arrivals.map(({ session }) => session.startMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times.at(-1)!).toBeCloseTo((1_000 * DAY.requests) / DAY.rate, -4);
  });

  it("keeps a session in one region", () => {
    const regionOf = new Map<number, number>();
    for (const { sessionIndex, region } of load.arrivals) {
      expect(region).toBe(regionOf.get(sessionIndex) ?? region);
      regionOf.set(sessionIndex, region);
    }
    expect(regionOf.size).toBeGreaterThan(400);
    expect(regionOf.size).toBeLessThan(990);
  });

  it("has a noon in each region while it is night in another", () => {
    const atNoon = REGIONS.map((_, i) => DIURNAL(i / REGIONS.length));
    atNoon.forEach((shares, i) => {
      expect(shares[i]).toBeCloseTo(0.6);
      expect(Math.min(...shares)).toBeLessThan(0.21);
      expect(shares.reduce((sum, share) => sum + share)).toBeCloseTo(1);
    });
  });
});

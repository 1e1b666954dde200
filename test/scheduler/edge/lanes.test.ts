import { describe, expect, it } from "vitest";
import { LANE_MS, Lanes, LANES_MAX } from "../../../src/scheduler/edge/lanes.ts";

describe("Lanes", () => {
  it("gives each isolate another one", () => {
    const lanes = new Lanes();
    const seeds = [7, 4_000_000_000, 1, 99];
    for (const seed of seeds) lanes.of(seed, 0);
    const given = seeds.map((seed) => lanes.of(seed, 10));
    expect(given.map((lane) => lane!.count)).toEqual([4, 4, 4, 4]);
    expect(new Set(given.map((lane) => lane!.index))).toEqual(new Set([0, 1, 2, 3]));
  });

  it("gives on those of isolates that ask no more", () => {
    const lanes = new Lanes();
    lanes.of(1, 0);
    lanes.of(2, 4_000);
    expect(lanes.of(2, LANE_MS - 1)).toEqual({ index: 1, count: 2 });
    expect(lanes.of(2, LANE_MS + 500)).toEqual({ index: 0, count: 1 });
  });

  it("keeps no more than LANES_MAX", () => {
    const lanes = new Lanes();
    for (let seed = 0; seed < LANES_MAX; seed++) expect(lanes.of(seed, 0)).toBeDefined();
    expect(lanes.of(LANES_MAX, 0)).toBeUndefined();
    expect(lanes.of(5, 0)).toEqual({ index: 5, count: LANES_MAX });
    expect(lanes.of(LANES_MAX, LANE_MS)).toEqual({ index: 0, count: 1 });
  });
});

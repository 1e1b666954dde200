import { describe, expect, it } from "vitest";
import { description, Isolate } from "./support/isolate.ts";

const NOW_MS = 1_000_000;

function isolateOf(...names: string[]): Isolate {
  const isolate = new Isolate(names.map((name, i) => description(name, { rttMs: 10 + 100 * i })));
  isolate.allHear(NOW_MS);
  return isolate;
}

describe("PoolChooser", () => {
  it("puts the nearest of pools that are at rest first, and says by what", () => {
    const isolate = isolateOf("near", "far", "farthest");
    const { order, candidates } = isolate.choose(NOW_MS);
    expect(order).toEqual(["near", "far", "farthest"]);
    expect(candidates[0]).toMatchObject({
      pool: "near",
      tier: 0,
      state: "fresh",
      costMs: 110,
      terms: { rttMs: 10, waitMs: 0, prefillMs: 100, memoryMs: 0, priceMs: 0, affinityMs: 0 },
    });
  });
});

import { describe, expect, it } from "vitest";
import { drawOf, hashOfName } from "../../../src/scheduler/pools/rendezvous.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

const SESSIONS = 6_000;
const rng = createRng(11);
const sessions = Array.from(
  { length: SESSIONS },
  () => [rng() * 2 ** 32, rng() * 2 ** 32] as const,
);

function drawnBy(weights: Readonly<Record<string, number>>): string[] {
  return sessions.map(([low, high]) => {
    const pools = Object.entries(weights).map(([name, weight]) => ({
      name,
      draw: drawOf(low >>> 0, high >>> 0, hashOfName(name), weight),
    }));
    return pools.reduce((a, b) => (b.draw > a.draw ? b : a)).name;
  });
}

describe("rendezvous", () => {
  it("draws in proportion to weights", () => {
    const drawn = drawnBy({ a: 1, b: 2, c: 5 });
    const share = (name: string) => drawn.filter((each) => each === name).length / SESSIONS;
    expect(share("a")).toBeCloseTo(1 / 8, 1);
    expect(share("b")).toBeCloseTo(2 / 8, 1);
    expect(share("c")).toBeCloseTo(5 / 8, 1);
  });

  it("moves nobody else's sessions when a pool leaves", () => {
    const before = drawnBy({ a: 1, b: 1, c: 1, d: 1 });
    const after = drawnBy({ a: 1, b: 1, c: 1 });
    expect(after.filter((_, i) => before[i] !== "d")).toEqual(
      before.filter((name) => name !== "d"),
    );
    expect(new Set(after)).toEqual(new Set(["a", "b", "c"]));
  });

  it("moves sessions only to a pool whose weight has grown", () => {
    const before = drawnBy({ a: 4, b: 4 });
    const after = drawnBy({ a: 4, b: 5 });
    const moved = before.filter((name, i) => after[i] !== name);
    expect(new Set(moved)).toEqual(new Set(["a"]));
    expect(moved.length / SESSIONS).toBeLessThan(0.08);
  });
});

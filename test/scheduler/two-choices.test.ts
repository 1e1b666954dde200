import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { chooseOfTwo } from "../../src/scheduler/two-choices.ts";

describe("chooseOfTwo", () => {
  it("gives distinct candidates, at most as many as asked for, the less loaded of two first", () => {
    const loads = fc.array(fc.nat(9), { maxLength: 12 });
    fc.assert(
      fc.property(loads, fc.nat(6), fc.nat(), (given, count, seed) => {
        const candidates = given.map((_, i) => i).filter((i) => i % 3 !== 1);
        const chosen = chooseOfTwo(candidates, given, count, createRng(seed));
        expect(chosen).toHaveLength(Math.min(count, candidates.length));
        expect(new Set(chosen).size).toBe(chosen.length);
        for (const index of chosen) expect(candidates).toContain(index);
        const [first, second] = chosen.map((index) => given[index]!);
        expect(second === undefined || first! <= second).toBe(true);
      }),
    );
  });

  it("is even among equals", () => {
    const rng = createRng(5);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 4_000; i++) counts[chooseOfTwo([0, 1, 2, 3], counts, 2, rng)[0]!]! += 1;
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(20);
  });
});

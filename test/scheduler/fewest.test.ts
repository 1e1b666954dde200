import { describe, expect, it } from "vitest";
import { scoreFewest } from "../../src/scheduler/fewest.ts";
import { pickContext } from "./support/pick-context.ts";

describe("scoreFewest", () => {
  it("scales the column that it is given", () => {
    const context = pickContext([{}, {}, {}]);
    const out = new Float64Array(3);
    scoreFewest(context, Float64Array.of(1.5, 0.5, 1), out);
    expect([...out]).toEqual([0, 1, 0.5]);
  });

  it("leaves endpoints without a fresh sample out of the scale", () => {
    const context = pickContext([{ ageMs: Infinity }, {}, {}]);
    const out = new Float64Array(3);
    scoreFewest(context, Int32Array.of(0, 4, 8), out);
    expect([...out]).toEqual([0, 1, 0]);
  });
});

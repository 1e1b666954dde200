import { describe, expect, it } from "vitest";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPicker } from "../../support/plugins.ts";

const RUNS = 6_000;

describe("random-picker", () => {
  it("gives every candidate the same chance at every rank, whatever it scores", () => {
    const picker = createPicker("random-picker", { maxNumOfEndpoints: 2 });
    const context = pickContext([{}, {}, {}, {}], { candidates: [0, 2, 3] });
    const rng = createRng(11);
    const counts = [new Map<number, number>(), new Map<number, number>()];
    const out = new Int32Array(8);
    for (let run = 0; run < RUNS; run++) {
      expect(picker.pick(context, Float64Array.of(9, 0, 1), rng, out)).toBe(2);
      for (const rank of [0, 1])
        counts[rank]!.set(out[rank]!, (counts[rank]!.get(out[rank]!) ?? 0) + 1);
    }
    for (const bySlot of counts) {
      expect(new Set(bySlot.keys())).toEqual(new Set([0, 2, 3]));
      // A third each, give or take five standard deviations.
      for (const count of bySlot.values()) expect(Math.abs(count - RUNS / 3)).toBeLessThan(185);
    }
  });

  it("returns fewer when there are fewer", () => {
    const out = new Int32Array(8);
    const picker = createPicker("random-picker", { maxNumOfEndpoints: 8 });
    expect(picker.pick(pickContext([{}, {}]), new Float64Array(2), createRng(1), out)).toBe(2);
  });
});

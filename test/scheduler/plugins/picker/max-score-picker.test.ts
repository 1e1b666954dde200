import { describe, expect, it } from "vitest";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPicker } from "../../support/plugins.ts";

const half = () => 0.5;

function pick(totals: readonly number[], maxNumOfEndpoints: number, rng: () => number): number[] {
  const out = new Int32Array(8);
  const context = pickContext(totals.map(() => ({})));
  const count = createPicker("max-score-picker", { maxNumOfEndpoints }).pick(
    context,
    Float64Array.from(totals),
    rng,
    out,
  );
  return [...out.subarray(0, count)];
}

describe("max-score-picker", () => {
  it.for([
    { name: "returns the best", totals: [1, 3, 2], max: 1, want: [1] },
    { name: "orders the rest by score", totals: [1, 3, 2, 0], max: 3, want: [1, 2, 0] },
    { name: "returns fewer when there are fewer", totals: [1, 2], max: 8, want: [1, 0] },
    { name: "decides a near-tie by its difference", totals: [1, 1 + 1e-9], max: 1, want: [1] },
    { name: "returns nothing of nothing", totals: [], max: 4, want: [] },
  ])("$name", ({ totals, max, want }) => {
    expect(pick(totals, max, half)).toEqual(want);
  });

  it("names slots, whatever their place among the candidates", () => {
    const context = pickContext([{}, {}, {}, {}], { candidates: [1, 3] });
    const out = new Int32Array(8);
    const picker = createPicker("max-score-picker", { maxNumOfEndpoints: 4 });
    const count = picker.pick(context, Float64Array.of(1, 2), half, out);
    expect([...out.subarray(0, count)]).toEqual([3, 1]);
  });

  it("gives every tied endpoint the same chance, at every rank", () => {
    const rng = createRng(5);
    const counts = [new Map<number, number>(), new Map<number, number>()];
    for (let run = 0; run < 4_000; run++) {
      const [best, second, third, worst] = pick([2, 2, 2, 1], 4, rng);
      expect(worst).toBe(3);
      expect(third).not.toBe(3);
      counts[0]!.set(best!, (counts[0]!.get(best!) ?? 0) + 1);
      counts[1]!.set(second!, (counts[1]!.get(second!) ?? 0) + 1);
    }
    for (const bySlot of counts) {
      for (const slot of [0, 1, 2]) {
        // 4,000 / 3, give or take five standard deviations.
        expect(Math.abs(bySlot.get(slot)! - 1_333)).toBeLessThan(150);
      }
    }
  });

  it("chooses alike for the same seed", () => {
    const totals = Array.from({ length: 20 }, () => 1);
    expect(pick(totals, 4, createRng(9))).toEqual(pick(totals, 4, createRng(9)));
  });
});

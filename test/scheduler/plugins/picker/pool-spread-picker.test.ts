import { describe, expect, it } from "vitest";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPicker } from "../../support/plugins.ts";

const SEEDS = 4_000;

/** Share of decisions in which each candidate is first. */
function shares(totals: number[], usable: number[], params: object = {}): number[] {
  const picker = createPicker("pool-spread-picker", params);
  const context = pickContext(usable.map((count) => ({ pool: { usable: count } })));
  const firsts = totals.map(() => 0);
  const out = new Int32Array(8);
  for (let seed = 0; seed < SEEDS; seed++) {
    picker.pick(context, Float64Array.from(totals), createRng(seed), out);
    firsts[out[0]!]! += 1;
  }
  return firsts.map((count) => count / SEEDS);
}

/** As pool-cost-scorer has it. */
const totalOf = (costMs: number) => 100 / (100 + costMs);

describe("pool-spread-picker", () => {
  it("sends equals in proportion to what they can take", () => {
    const [small, large] = shares([0.5, 0.5], [2, 6]);
    expect(small).toBeCloseTo(0.25, 1);
    expect(large).toBeCloseTo(0.75, 1);
  });

  it.for([
    [0, 5],
    [100, 110],
    [1_000, 1_055],
  ])("is e times as likely at %i ms as at %i ms", ([cheaper, dearer]) => {
    const [first, second] = shares([totalOf(cheaper!), totalOf(dearer!)], [4, 4]);
    expect(first! / second!).toBeGreaterThan(2.3);
    expect(first! / second!).toBeLessThan(3.1);
  });

  it("hardly ever takes what costs twice as much", () => {
    expect(shares([totalOf(100), totalOf(200)], [1, 1])[1]).toBeLessThan(0.002);
  });

  it("can be told to be less choosy", () => {
    const [first, second] = shares([0.5, 0.25], [1, 1], { sharpness: 1 });
    expect(first! / second!).toBeCloseTo(2, 0);
  });

  it("returns as many as are asked for, whoever scores nothing last", () => {
    const picker = createPicker("pool-spread-picker", { maxNumOfEndpoints: 3 });
    const context = pickContext([{ pool: {} }, { pool: {} }, { pool: {} }]);
    const out = new Int32Array(8);
    const totals = Float64Array.of(0, 0.9, 0.1);
    expect(picker.pick(context, totals, createRng(1), out)).toBe(3);
    expect([...out.subarray(0, 3)]).toEqual([1, 2, 0]);
  });
});

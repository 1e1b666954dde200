import { describe, expect, it } from "vitest";
import {
  BestCandidates,
  lotOf,
  pickerNotes,
  pickerParams,
  saltOf,
  shareOf,
  wantedOf,
} from "../../src/scheduler/lots.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { pickContext } from "./support/pick-context.ts";

describe("lots", () => {
  it("differ between the slots of a decision, and lie within 32 bits", () => {
    for (let seed = 0; seed < 20; seed++) {
      const salt = saltOf(createRng(seed));
      const lots = Array.from({ length: 1_024 }, (_, slot) => lotOf(slot, salt));
      expect(new Set(lots).size).toBe(1_024);
      expect(lots.every((lot) => shareOf(lot) > 0 && shareOf(lot) < 1)).toBe(true);
    }
    expect(shareOf(0)).toBeGreaterThan(0);
    expect(shareOf(2 ** 32 - 1)).toBeLessThan(1);
  });

  it("are uniform over the decisions, for neighbouring slots independently", () => {
    const rng = createRng(3);
    const counts = new Uint32Array(16);
    const RUNS = 16_000;
    for (let run = 0; run < RUNS; run++) {
      const salt = saltOf(rng);
      const quarter = (slot: number) => Math.floor(shareOf(lotOf(slot, salt)) * 4);
      counts[quarter(6) * 4 + quarter(7)]! += 1;
    }
    // A sixteenth each, give or take five standard deviations.
    for (const count of counts) expect(Math.abs(count - RUNS / 16)).toBeLessThan(155);
  });
});

describe("BestCandidates", () => {
  it("takes no more than there is room for, and marks nothing for the next decision", () => {
    const best = new BestCandidates();
    const context = pickContext([{}, {}, {}]);
    const out = new Int32Array(2);
    const draw = { salt: 1, wanted: 8 };
    expect(best.take(context, Float64Array.of(1, 3, 2), draw, out)).toBe(2);
    expect([...out]).toEqual([1, 2]);
    expect(best.take(context, Float64Array.of(1, 3, 2), draw, out)).toBe(2);
    expect([...out]).toEqual([1, 2]);
  });

  it("grows with the pool", () => {
    const best = new BestCandidates();
    const out = new Int32Array(8);
    for (const count of [1, 5, 3]) {
      const context = pickContext(Array.from({ length: count }, () => ({})));
      const ranks = Float64Array.from({ length: count }, (_, i) => i);
      expect(best.take(context, ranks, { salt: 1, wanted: 8 }, out)).toBe(count);
      expect(out[0]).toBe(count - 1);
    }
  });
});

describe("pickerParams", () => {
  it.for([
    { given: {}, want: 1 },
    { given: { maxNumOfEndpoints: 8 }, want: 8 },
    { given: { maxNumOfEndpoints: 0 }, want: 1 },
    { given: { maxNumOfEndpoints: -3 }, want: 1 },
  ])("takes $given for $want", ({ given, want }) => {
    expect(pickerParams.parse(given)).toEqual({ maxNumOfEndpoints: want });
  });

  it("takes more than it returns, and says so", () => {
    const many = pickerParams.parse({ maxNumOfEndpoints: 10 });
    expect(wantedOf(many)).toBe(8);
    expect(pickerNotes(many)).toEqual(["maxNumOfEndpoints: 8 are returned at most."]);
    expect(pickerNotes(pickerParams.parse({ maxNumOfEndpoints: 8 }))).toEqual([]);
  });

  it.for([1.5, "2"])("refuses %s endpoints", (maxNumOfEndpoints) => {
    expect(pickerParams.safeParse({ maxNumOfEndpoints }).success).toBe(false);
  });
});

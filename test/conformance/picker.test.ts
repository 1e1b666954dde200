// Every picker in the registry honours the Picker contract (src/scheduler/plugin.ts).

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Picker } from "../../src/scheduler/plugin.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { type ContextFacts, contextFacts, contextOf, ROWS_MAX, snapshot } from "./contexts.ts";
import { examplesOf } from "./params.ts";
import { createPicker } from "../scheduler/support/plugins.ts";

const UNTOUCHED = -7;
const OUT_LENGTH = 8;

interface Decision {
  readonly facts: ContextFacts;
  readonly totals: Float64Array;
  readonly seed: number;
}

// Few different totals, so that ties are common.
const decision: fc.Arbitrary<Decision> = fc
  .tuple(
    contextFacts,
    fc.array(fc.nat(4), { minLength: ROWS_MAX, maxLength: ROWS_MAX }),
    fc.nat(1_000),
  )
  .map(([facts, totals, seed]) => ({
    facts,
    totals: Float64Array.from(facts.candidates, (_, i) => totals[i]!),
    seed,
  }));

function picksOf(picker: Picker, { facts, totals, seed }: Decision): number[] {
  const out = new Int32Array(OUT_LENGTH).fill(UNTOUCHED);
  const count = picker.pick(contextOf(facts), totals, createRng(seed), out);
  expect([...out.subarray(count)].every((slot) => slot === UNTOUCHED)).toBe(true);
  return [...out.subarray(0, count)];
}

describe.for(examplesOf("picker"))("$name", ({ type, params }) => {
  const create = (): Picker => createPicker(type, params);

  it("returns candidates only, each once, and at least one where there is one", () => {
    fc.assert(
      fc.property(decision, (at) => {
        const slots = picksOf(create(), at);
        expect(new Set(slots).size).toBe(slots.length);
        for (const slot of slots) expect(at.facts.candidates).toContain(slot);
        expect(slots.length > 0).toBe(at.facts.candidates.length > 0);
      }),
    );
  });

  it("chooses alike for the same seed, also after other decisions", () => {
    fc.assert(
      fc.property(decision, decision, (at, other) => {
        const picker = create();
        const first = picksOf(picker, at);
        picksOf(picker, other);
        expect(picksOf(picker, at)).toEqual(first);
      }),
    );
  });

  it("chooses alike without some of those it did not choose", () => {
    fc.assert(
      fc.property(decision, fc.nat(), ({ facts, totals, seed }, mask) => {
        const chosen = picksOf(create(), { facts, totals, seed });
        const kept = facts.candidates
          .map((slot, i) => ({ slot, total: totals[i]! }))
          .filter(({ slot }, i) => chosen.includes(slot) || ((mask >> (i % 31)) & 1) === 1);
        const fewer = {
          facts: { ...facts, candidates: kept.map(({ slot }) => slot) },
          totals: Float64Array.from(kept, ({ total }) => total),
          seed,
        };
        expect(picksOf(create(), fewer)).toEqual(chosen);
      }),
    );
  });

  it("changes neither the decision nor the totals", () => {
    fc.assert(
      fc.property(decision, ({ facts, totals, seed }) => {
        const context = contextOf(facts);
        const before = [snapshot(context), [...totals]];
        create().pick(context, totals, createRng(seed), new Int32Array(OUT_LENGTH));
        expect([snapshot(context), [...totals]]).toEqual(before);
      }),
    );
  });
});

// Every filter in the registry honours the Filter contract (src/scheduler/plugin.ts).

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ContextFacts, contextFacts, contextOf, snapshot } from "./contexts.ts";
import { examplesOf } from "./params.ts";
import { createFilter } from "../scheduler/support/plugins.ts";

describe.for(examplesOf("filter"))("$name", ({ type, params }) => {
  const create = () => createFilter(type, params);
  const keptOf = (facts: ContextFacts): number[] => {
    const context = contextOf(facts);
    const kept = create().filter(context);
    expect(kept).toBeLessThanOrEqual(facts.candidates.length);
    return [...context.candidates.subarray(0, kept)];
  };

  it("keeps candidates only, each once, in their order", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const kept = keptOf(facts);
        expect(kept).toEqual(facts.candidates.filter((slot) => kept.includes(slot)));
      }),
    );
  });

  it("keeps the same when asked again of what it kept", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const kept = keptOf(facts);
        expect(keptOf({ ...facts, candidates: kept })).toEqual(kept);
      }),
    );
  });

  it("leaves the columns and the length of the candidates' buffer alone", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const context = contextOf(facts);
        const before = snapshot({ ...context, candidates: new Int32Array(0) });
        create().filter(context);
        expect(snapshot({ ...context, candidates: new Int32Array(0) })).toBe(before);
        expect(context.candidates).toHaveLength(facts.candidates.length);
      }),
    );
  });
});

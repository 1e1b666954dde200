// Every filter in the registry honours the Filter contract (src/scheduler/plugin.ts).

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pluginsOfKind } from "../../src/scheduler/registry.ts";
import { type ContextFacts, contextFacts, contextOf } from "./contexts.ts";
import { createFilter } from "../scheduler/support/plugins.ts";

describe.for(pluginsOfKind("filter").map(({ type }) => type))("%s", (type) => {
  const keptOf = (facts: ContextFacts): number[] => {
    const context = contextOf(facts);
    const kept = createFilter(type).filter(context);
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
        const untouched = contextOf(facts);
        createFilter(type).filter(context);
        expect(context.endpoints).toEqual(untouched.endpoints);
        expect(context.prefix).toEqual(untouched.prefix);
        expect(context.candidates).toHaveLength(untouched.candidates.length);
      }),
    );
  });
});

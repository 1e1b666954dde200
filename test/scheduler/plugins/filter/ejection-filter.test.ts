import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createFilter } from "../../support/plugins.ts";

const NEVER = undefined;

describe("ejection-filter", () => {
  it.for([
    { name: "removes the ejected", ejected: [5_000, NEVER, 1], want: [1] },
    { name: "keeps all when all are ejected", ejected: [5_000, 1], want: [0, 1] },
    { name: "takes an endpoint back when its lease ends", ejected: [0, 1], want: [0] },
    { name: "keeps all when none is ejected", ejected: [NEVER, -1], want: [0, 1] },
    { name: "keeps nothing of nothing", ejected: [], want: [] },
  ])("$name", ({ ejected, want }) => {
    const context = pickContext(
      ejected.map((ejectedMs) => (ejectedMs === undefined ? {} : { ejectedMs })),
    );
    const kept = createFilter("ejection-filter").filter(context);
    expect([...context.candidates.subarray(0, kept)]).toEqual(want);
  });

  it("does not count an endpoint that is no candidate among those still standing", () => {
    const context = pickContext([{}, { ejectedMs: 1_000 }], { candidates: [1] });
    expect(createFilter("ejection-filter").filter(context)).toBe(1);
    expect(context.candidates[0]).toBe(1);
  });
});

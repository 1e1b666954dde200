import { describe, expect, it } from "vitest";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

function scores(rows: readonly EndpointRow[], params: object = {}): number[] {
  return scoresOf(createScorer("load-aware-scorer", params), pickContext(rows));
}

describe("load-aware-scorer", () => {
  it.for([
    { name: "never scores above a half", depths: [0], want: [0.5] },
    { name: "falls with the queue", depths: [0, 32, 64], want: [0.5, 0.375, 0.25] },
    { name: "ends at the threshold", depths: [128, 1_000], want: [0, 0] },
  ])("$name", ({ depths, want }) => {
    expect(scores(depths.map((queueDepth) => ({ queueDepth })))).toEqual(want);
  });

  it("takes its threshold from the configuration", () => {
    expect(scores([{ queueDepth: 5 }], { threshold: 10 })).toEqual([0.25]);
    expect(() => createScorer("load-aware-scorer", { threshold: 0 })).toThrow("threshold");
  });

  it("gives a stale or never sampled endpoint nothing", () => {
    expect(scores([{ ageMs: STALE_AFTER_MS + 1 }, { ageMs: Infinity }])).toEqual([0, 0]);
  });
});

import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

describe("multicluster-kv-cache-utilization-scorer", () => {
  it("scores what is free, on an absolute scale, and nobody who does not tell", () => {
    const context = pickContext(
      [0, 0.25, 1, 7, NaN].map((used) => ({
        ageMs: Infinity,
        scalars: { "llm-d.ai/multicluster-kv-cache-utilization": used },
      })),
    );
    const scorer = createScorer("multicluster-kv-cache-utilization-scorer");
    expect(scoresOf(scorer, context)).toEqual([1, 0.75, 0, 0, 0]);
  });
});

import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

describe("multicluster-queue-scorer", () => {
  const scores = (queues: readonly number[]) =>
    scoresOf(
      createScorer("multicluster-queue-scorer"),
      // A cluster tells no queue of its own, so it has no load sample.
      pickContext(
        queues.map((queue) => ({
          ageMs: Infinity,
          queueDepth: 99,
          scalars: { "llm-d.ai/multicluster-queue-size": queue },
        })),
      ),
    );

  it.for([
    { name: "scales from the shortest to the longest", queues: [0, 2, 4], want: [1, 0.5, 0] },
    { name: "is neutral when all are equal", queues: [3, 3], want: [1, 1] },
    { name: "gives nothing to who does not tell", queues: [NaN, 4, 5], want: [0, 1, 0] },
  ])("$name", ({ queues, want }) => {
    expect(scores(queues)).toEqual(want);
  });
});

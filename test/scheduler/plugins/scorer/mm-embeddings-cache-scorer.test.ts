import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

function scores(matched: readonly number[], totalSize: number): number[] {
  const data = { "media-match": { matchedSize: Float64Array.from(matched), totalSize } };
  const context = pickContext(
    matched.map(() => ({})),
    { data },
  );
  return scoresOf(createScorer("mm-embeddings-cache-scorer"), context);
}

describe("mm-embeddings-cache-scorer", () => {
  it("scores the share of the media's size that was encoded there", () => {
    expect(scores([0, 100, 400], 400)).toEqual([0, 0.25, 1]);
  });

  it("scores nobody for a request without media", () => {
    expect(scores([0, 0], 0)).toEqual([0, 0]);
  });

  it("scores nobody where nobody knows", () => {
    expect(scoresOf(createScorer("mm-embeddings-cache-scorer"), pickContext([{}]))).toEqual([0]);
  });
});

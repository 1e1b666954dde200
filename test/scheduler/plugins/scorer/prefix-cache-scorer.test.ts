import { describe, expect, it } from "vitest";
import { CONTENT_BLOCK_TOKENS } from "../../../../src/scheduler/kv/content-keys.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

function scores(matched: readonly number[], totalBlocks: number, params: object = {}): number[] {
  const context = pickContext(
    matched.map((matchedBlocks) => ({ matchedBlocks })),
    { totalBlocks },
  );
  const out = new Float64Array(matched.length);
  createScorer("prefix-cache-scorer", params).score(context, out);
  return [...out];
}

describe("prefix-cache-scorer", () => {
  it.for([
    { name: "scores the matched share", matched: [0, 5, 10], totalBlocks: 10, want: [0, 0.5, 1] },
    { name: "scores 0 for a prompt without a block", matched: [3], totalBlocks: 0, want: [0] },
    { name: "values a tiny full match like a huge one", matched: [1], totalBlocks: 1, want: [1] },
  ])("$name", ({ matched, totalBlocks, want }) => {
    expect(scores(matched, totalBlocks)).toEqual(want);
  });

  it("weighs the absolute length of the match, squared and up to its scale", () => {
    const params = { matchLengthWeight: 0.5, matchLengthScaleTokens: 16 * CONTENT_BLOCK_TOKENS };
    expect(scores([8], 8, params)).toEqual([0.5 * 0.25 + 0.5]);
    expect(scores([16], 16, params)).toEqual([1]);
    expect(scores([64], 64, params)).toEqual([1]);
  });

  it("counts blocks by the tier they are in", () => {
    const match = {
      matchedBlocks: Int32Array.of(10, 10),
      weightedBlocks: Float64Array.of(10, 8),
      totalBlocks: 10,
      blockTokens: CONTENT_BLOCK_TOKENS,
    };
    const context = pickContext([{}, {}], { data: { "prefix-match": match } });
    expect(scoresOf(createScorer("prefix-cache-scorer"), context)).toEqual([1, 0.8]);
  });

  it("reads the producer that it names", () => {
    const asked: string[] = [];
    const context = pickContext([{}]);
    const data = {
      get: (_key: string, producer: string) => {
        asked.push(producer);
        return undefined;
      },
    };
    const named = createScorer("prefix-cache-scorer", { prefixMatchInfoProducerName: "mine" });
    expect(scoresOf(named, { ...context, data })).toEqual([0]);
    scoresOf(createScorer("prefix-cache-scorer"), { ...context, data });
    expect(asked).toEqual(["mine", "approx-prefix-cache-producer"]);
  });
});

import { describe, expect, it } from "vitest";
import type { Scorer } from "../../../../src/scheduler/plugin.ts";
import type { NarrowingContext } from "../../../../src/scheduler/profile.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer } from "../../support/plugins.ts";

function create(params: object = {}): Scorer {
  return createScorer("no-hit-lru-scorer", params);
}

function scores(scorer: Scorer, context: NarrowingContext): number[] {
  const out = new Float64Array(context.candidateCount);
  scorer.score(context, out);
  return [...out];
}

const cold = () => pickContext([{}, {}, {}], { totalBlocks: 4 });

describe("no-hit-lru-scorer", () => {
  it("is neutral when some candidate holds a block", () => {
    const context = pickContext([{}, { matchedBlocks: 1 }, {}], { totalBlocks: 4 });
    expect(scores(create(), context)).toEqual([0.5, 0.5, 0.5]);
  });

  it("takes a prompt as cold that only a removed candidate holds", () => {
    const context = pickContext([{ matchedBlocks: 4 }, {}, {}], {
      totalBlocks: 4,
      candidates: [1, 2],
    });
    expect(scores(create(), context)).toEqual([1, 0]);
  });

  it("scores a single endpoint 1", () => {
    expect(scores(create(), pickContext([{}]))).toEqual([1]);
  });

  it("ranks endpoints never used first, in slot order", () => {
    expect(scores(create(), cold())).toEqual([1, 0.5, 0]);
  });

  it("ranks used endpoints behind unused ones, oldest first", () => {
    const scorer = create();
    scorer.onPicked?.(cold(), 0);
    expect(scores(scorer, cold())).toEqual([0, 1, 0.5]);
    scorer.onPicked?.(cold(), 1);
    expect(scores(scorer, cold())).toEqual([0.5, 0, 1]);
    scorer.onPicked?.(cold(), 2);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
    scorer.onPicked?.(cold(), 0);
    expect(scores(scorer, cold())).toEqual([0, 1, 0.5]);
  });

  it("does not learn from a prompt that was not cold", () => {
    const scorer = create();
    scorer.onPicked?.(pickContext([{ matchedBlocks: 2 }, {}, {}], { totalBlocks: 4 }), 0);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
  });

  it("counts prompts, whatever their length", () => {
    const scorer = create();
    scorer.onPicked?.(pickContext([{}, {}], { totalBlocks: 2_000 }), 0);
    scorer.onPicked?.(pickContext([{}, {}], { totalBlocks: 1 }), 1);
    expect(scores(scorer, pickContext([{}, {}], { totalBlocks: 4 }))).toEqual([1, 0]);
  });

  it("remembers at most lruSize endpoints", () => {
    const scorer = create({ lruSize: 1 });
    scorer.onPicked?.(cold(), 0);
    scorer.onPicked?.(cold(), 1);
    expect(scores(scorer, cold())).toEqual([1, 0, 0.5]);
  });

  it("forgets an endpoint that left", () => {
    const scorer = create();
    scorer.onPicked?.(cold(), 0);
    scorer.onEndpointRemoved?.(0);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
  });
});

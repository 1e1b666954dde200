import { describe, expect, it } from "vitest";
import type { Scorer } from "../../../../src/scheduler/plugin.ts";
import type { NarrowingContext } from "../../../../src/scheduler/plugin.ts";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

function create(params: object = {}): Scorer {
  return createScorer("no-hit-lru-scorer", params);
}

const scores = scoresOf;

/** Scores a decision and sends its request to `slot`. */
function send(scorer: Scorer, context: NarrowingContext, slot: number): void {
  scores(scorer, context);
  scorer.onPicked?.(context, slot);
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
    send(scorer, cold(), 0);
    expect(scores(scorer, cold())).toEqual([0, 1, 0.5]);
    send(scorer, cold(), 1);
    expect(scores(scorer, cold())).toEqual([0.5, 0, 1]);
    send(scorer, cold(), 2);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
    send(scorer, cold(), 0);
    expect(scores(scorer, cold())).toEqual([0, 1, 0.5]);
  });

  it("does not learn from a prompt that was not cold", () => {
    const scorer = create();
    send(scorer, pickContext([{ matchedBlocks: 2 }, {}, {}], { totalBlocks: 4 }), 0);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
  });

  it("counts prompts, whatever their length", () => {
    const scorer = create();
    send(scorer, pickContext([{}, {}], { totalBlocks: 2_000 }), 0);
    send(scorer, pickContext([{}, {}], { totalBlocks: 1 }), 1);
    expect(scores(scorer, pickContext([{}, {}], { totalBlocks: 4 }))).toEqual([1, 0]);
  });

  it("asks those that were left to score whether a prompt is cold, also when it learns", () => {
    const scorer = create();
    const filtered = () =>
      pickContext([{ matchedBlocks: 4 }, {}, {}], { totalBlocks: 4, candidates: [1, 2] });
    scores(scorer, filtered());
    // The object tells it with the candidates of all profiles.
    scorer.onPicked?.(pickContext([{ matchedBlocks: 4 }, {}, {}], { totalBlocks: 4 }), 1);
    expect(scores(scorer, filtered())).toEqual([0, 1]);
  });

  it("learns nothing from a decision in which it did not score", () => {
    const scorer = create();
    scores(scorer, cold());
    scorer.onPicked?.(pickContext([{}, {}, {}], { request: { requestId: "another" } }), 0);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
  });

  it("makes the endpoint of the prefill profile the newest", () => {
    const scorer = create();
    send(scorer, pickContext([{}, {}, {}], { results: { prefill: 1 } }), 0);
    expect(scores(scorer, cold())).toEqual([0.5, 0, 1]);
    send(scorer, pickContext([{}, {}, {}], { results: { prefill: -1 } }), 2);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
  });

  it.for([
    { name: "its producer", params: { prefixMatchInfoProducerName: "mine" }, want: "mine" },
    { name: "a legacy name", params: { prefixPluginName: "old" }, want: "old" },
    { name: "a legacy type", params: { prefixPluginType: "prefix-cache-scorer" }, want: "" },
  ])("reads what $name tells", ({ params, want }) => {
    const plugin = pluginOf("no-hit-lru-scorer");
    const given = plugin.params.parse(params);
    expect(plugin.consumes!(given)).toEqual([{ key: "prefix-match", producer: want }]);
  });

  it("takes more than a pool's endpoints as all of them", () => {
    const scorer = create({ lruSize: 5_000 });
    send(scorer, cold(), 0);
    expect(scores(scorer, cold())).toEqual([0, 1, 0.5]);
  });

  it("remembers at most lruSize endpoints", () => {
    const scorer = create({ lruSize: 1 });
    send(scorer, cold(), 0);
    send(scorer, cold(), 1);
    expect(scores(scorer, cold())).toEqual([1, 0, 0.5]);
  });

  it.for(["onEndpointRemoved", "onEndpointRestarted"] as const)("forgets by %s", (event) => {
    const scorer = create();
    send(scorer, cold(), 0);
    scorer[event]?.(0);
    expect(scores(scorer, cold())).toEqual([1, 0.5, 0]);
  });
});

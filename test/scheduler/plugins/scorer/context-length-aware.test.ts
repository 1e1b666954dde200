import { describe, expect, it } from "vitest";
import type { Filter, Scorer } from "../../../../src/scheduler/plugin.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPlugin, scoresOf } from "../../support/plugins.ts";

const LABEL = "llm-d.ai/context-length-range";
const create = (params: object = {}) =>
  createPlugin("context-length-aware", params) as Filter & Scorer;

const contextOf = (labels: readonly (string | undefined)[], promptTokens: number) =>
  pickContext(
    labels.map((label) => (label === undefined ? {} : { labels: { [LABEL]: label } })),
    { request: { promptTokens } },
  );

describe("context-length-aware", () => {
  const scores = (labels: readonly (string | undefined)[], tokens: number) =>
    scoresOf(create(), contextOf(labels, tokens));

  it.for([
    { name: "a width of 0", label: "500-500", tokens: 500, want: 1 },
    {
      name: "the lower end of a range",
      label: "0-10000",
      tokens: 0,
      want: 0.3 + 0.7 * (0.7 * 0.5 + 0.3),
    },
    { name: "the upper end", label: "0-10000", tokens: 10_000, want: 0.3 + 0.7 * 0.7 * 0.5 },
    { name: "less than a range", label: "2000-3000", tokens: 1_000, want: 0.15 },
    { name: "more than a range", label: "0-1000", tokens: 4_000, want: 0.075 },
    { name: "no label", label: undefined, tokens: 5, want: 0.5 },
    { name: "a label that is no range", label: "long", tokens: 5, want: 0 },
    { name: "a range upside down", label: "9-5", tokens: 7, want: 0 },
  ])("scores $name", ({ label, tokens, want }) => {
    expect(scores([label], tokens)[0]).toBeCloseTo(want, 12);
  });

  it("prefers the narrow range among those that hold the prompt", () => {
    const [narrow, wide] = scores(["0-2048", "0-131072"], 1_000);
    expect(narrow).toBeGreaterThan(wide!);
  });

  it("keeps everybody by default", () => {
    expect(create().filter(contextOf(["0-10", "long"], 50))).toBe(2);
  });

  it("keeps what is in range or unlabelled, where it filters", () => {
    const context = contextOf(["0-10", undefined, "long", "50-60", "51-60", "0-50"], 50);
    const kept = create({ enableFiltering: true }).filter(context);
    expect([...context.candidates.subarray(0, kept)]).toEqual([1, 3, 5]);
  });

  it("reads a label again when it has changed", () => {
    const plugin = create();
    expect(scoresOf(plugin, contextOf(["5-5"], 5))).toEqual([1]);
    expect(scoresOf(plugin, contextOf(["nonsense"], 5))).toEqual([0]);
    expect(scoresOf(plugin, contextOf(["5-5"], 5))).toEqual([1]);
  });

  it("reads the label that it is configured with", () => {
    const context = pickContext([{ labels: { mine: "1-1" } }], { request: { promptTokens: 1 } });
    expect(scoresOf(create({ label: "mine" }), context)).toEqual([1]);
  });
});

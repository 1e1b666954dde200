import { describe, expect, it } from "vitest";
import { findPlugin } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const rows = [{ labels: { gpu: "h100", tier: "a" } }, { labels: { gpu: "a100", tier: "a" } }, {}];

describe("label-selector-filter", () => {
  it.for([
    { name: "by an equal label", params: { matchLabels: { gpu: "a100" } }, want: [1] },
    {
      name: "by expressions",
      params: { matchExpressions: [{ key: "gpu", operator: "NotIn", values: ["a100"] }] },
      want: [0, 2],
    },
    { name: "nobody", params: { matchLabels: { gpu: "b200" } }, want: [] },
    { name: "everybody, without a requirement", params: {}, want: [0, 1, 2] },
  ])("keeps $name", ({ params, want }) => {
    expect(keptBy("label-selector-filter", params, pickContext(rows))).toEqual(want);
  });

  it("warns of a selector that selects everything", () => {
    const plugin = findPlugin("by-label-selector")!;
    expect(plugin.notes!(plugin.params.parse({}))).toHaveLength(1);
    expect(plugin.notes!(plugin.params.parse({ matchLabels: { a: "b" } }))).toEqual([]);
  });
});

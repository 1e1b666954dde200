import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const rows = [{ labels: { tier: "a" } }, { labels: { tier: "b" } }, {}, { labels: { tier: "" } }];

describe("by-label", () => {
  it.for([
    { name: "one of the values", params: { validValues: ["a", "c"] }, want: [0] },
    {
      name: "no label, where that is allowed",
      params: { validValues: ["b"], allowsNoLabel: true },
      want: [1, 2],
    },
    { name: "no label alone", params: { allowsNoLabel: true }, want: [2] },
    {
      name: "an empty value, which llm-d sees in its absence",
      params: { validValues: [""] },
      want: [2, 3],
    },
  ])("keeps $name", ({ params, want }) => {
    expect(keptBy("by-label", { label: "tier", ...params }, pickContext(rows))).toEqual(want);
  });

  it.for([
    {},
    { label: "", allowsNoLabel: true },
    { label: "tier" },
    { label: "tier", validValues: [] },
  ])("refuses %j", (params) => {
    expect(accepts("by-label", params)).toBe(false);
  });
});

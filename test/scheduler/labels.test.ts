import { describe, expect, it } from "vitest";
import { labelOf } from "../../src/scheduler/labels.ts";
import { pickContext } from "./support/pick-context.ts";
import { createScorer, keptBy, scoresOf } from "./support/plugins.ts";

/** What every object has without being told. */
const INHERITED = ["constructor", "toString", "__proto__"];

describe("labelOf", () => {
  it("gives a label's value, the empty one too", () => {
    expect(labelOf({ a: "b" }, "a")).toBe("b");
    expect(labelOf({ a: "" }, "a")).toBe("");
    expect(labelOf({ constructor: "x" }, "constructor")).toBe("x");
  });

  it("gives nothing where there is no label, or no endpoint", () => {
    expect(labelOf({}, "a")).toBeUndefined();
    expect(labelOf(undefined, "a")).toBeUndefined();
  });

  it.for(INHERITED)("knows no label %s of an endpoint without labels", (key) => {
    expect(labelOf({}, key)).toBeUndefined();
  });
});

describe.for(INHERITED)("a configuration that names the label %s", (label) => {
  const context = () => pickContext([{ labels: {} }], { request: { headers: { "x-a": "a" } } });

  it("is about endpoints without it in by-label", () => {
    expect(keptBy("by-label", { label, allowsNoLabel: true }, context())).toEqual([0]);
    expect(keptBy("by-label", { label, validValues: [""] }, context())).toEqual([0]);
  });

  it("is about endpoints without it in header-label-affinity-scorer", () => {
    const params = { headerName: "x-a", labelKey: label };
    expect(scoresOf(createScorer("header-label-affinity-scorer", params), context())).toEqual([0]);
  });

  it("is about endpoints without it in context-length-aware", () => {
    const scorer = createScorer("context-length-aware", { label });
    const plain = createScorer("context-length-aware");
    expect(scoresOf(scorer, context())).toEqual(scoresOf(plain, context()));
  });
});

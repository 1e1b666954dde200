import { describe, expect, it } from "vitest";
import {
  findRewriteWarnings,
  MODEL_REWRITE_LIMITS,
  modelRewritesSchema,
} from "../../../src/scheduler/rewrite/config.ts";

const exact = (...values: string[]) => values.map((value) => ({ model: { value } }));

function mistakes(document: unknown): string[] {
  const parsed = modelRewritesSchema.safeParse(document);
  return parsed.success ? [] : parsed.error.issues.map((issue) => issue.path.join("."));
}

describe("modelRewritesSchema", () => {
  it("fills in the type of a match and an empty list of matches", () => {
    const rules = [{ matches: exact("a"), targets: [{ modelRewrite: "b" }] }];
    const [rewrite] = modelRewritesSchema.parse([
      { name: "r", rules: [...rules, { targets: [{ modelRewrite: "c" }] }] },
    ]);
    expect(rewrite!.rules[0]!.matches).toEqual([{ model: { type: "Exact", value: "a" } }]);
    expect(rewrite!.rules[1]!.matches).toEqual([]);
  });

  const target = { modelRewrite: "b" };
  const rule = { targets: [target] };
  it.for([
    { name: "no targets", rewrite: { rules: [{ targets: [] }] }, at: "0.rules.0.targets" },
    { name: "no rules", rewrite: { rules: [] }, at: "0.rules" },
    {
      name: "another type of match",
      rewrite: { rules: [{ ...rule, matches: [{ model: { type: "Prefix", value: "a" } }] }] },
      at: "0.rules.0.matches.0.model.type",
    },
    {
      name: "a weight of 0",
      rewrite: { rules: [{ targets: [{ ...target, weight: 0 }] }] },
      at: "0.rules.0.targets.0.weight",
    },
    {
      name: "too great a weight",
      rewrite: {
        rules: [{ targets: [{ ...target, weight: MODEL_REWRITE_LIMITS.weightMax + 1 }] }],
      },
      at: "0.rules.0.targets.0.weight",
    },
    {
      name: "a time that is none",
      rewrite: { creationTimestamp: "yesterday", rules: [rule] },
      at: "0.creationTimestamp",
    },
    { name: "a misspelt key", rewrite: { rules: [{ ...rule, match: [] }] }, at: "0.rules.0" },
  ])("refuses $name", ({ rewrite, at }) => {
    expect(mistakes([{ name: "r", ...rewrite }])).toEqual([at]);
  });

  it("takes as many rewrites as may be, and names that differ", () => {
    const many = Array.from({ length: MODEL_REWRITE_LIMITS.rewritesMax }, (_, i) => ({
      name: `r${i}`,
      rules: [rule],
    }));
    expect(mistakes(many)).toEqual([]);
    expect(mistakes([...many, { name: "more", rules: [rule] }])).toEqual([""]);
    expect(mistakes([...many.slice(1), many[1]])).toEqual(["63.name"]);
  });
});

describe("findRewriteWarnings", () => {
  const warnings = (document: unknown) =>
    findRewriteWarnings(modelRewritesSchema.parse(document)).map((each) => each.path.join("."));
  const a = { modelRewrite: "a" };
  const b = { modelRewrite: "b", weight: 2 };

  it("says which targets are never chosen", () => {
    expect(warnings([{ name: "r", rules: [{ targets: [a, b, a] }] }])).toEqual([
      "0.rules.0.targets.0",
      "0.rules.0.targets.2",
    ]);
    expect(warnings([{ name: "r", rules: [{ targets: [a, a] }] }])).toEqual([]);
    expect(warnings([{ name: "r", rules: [{ targets: [b, b] }] }])).toEqual([]);
  });

  it("says which matches an older rule takes away", () => {
    const rule = { matches: exact("x", "y"), targets: [a] };
    const newer = { name: "new", creationTimestamp: "2026-02-01T00:00:00Z", rules: [rule] };
    const older = {
      name: "old",
      creationTimestamp: "2026-01-01T00:00:00Z",
      rules: [{ ...rule, matches: exact("y") }, { targets: [a] }, { targets: [a] }],
    };
    expect(warnings([newer, older])).toEqual(["1.rules.2", "0.rules.0.matches.1"]);
  });
});

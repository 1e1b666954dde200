import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { modelRewritesSchema } from "../../../src/scheduler/rewrite/config.ts";
import { ModelRewrites } from "../../../src/scheduler/rewrite/model-rewrites.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

const rewritesOf = (document: unknown) => new ModelRewrites(modelRewritesSchema.parse(document));
const to = (...targets: string[]) => targets.map((modelRewrite) => ({ modelRewrite }));
const exact = (...values: string[]) => values.map((value) => ({ model: { type: "Exact", value } }));
const at = (day: number) => `2026-01-0${day}T00:00:00Z`;

describe("the rule of a request", () => {
  const generic = { rules: [{ targets: to("generic") }] };
  const forA = (target: string) => ({ rules: [{ matches: exact("a"), targets: to(target) }] });

  it.for([
    { name: "none: the client's own name", rewrites: [], model: "a", target: "a", rewrite: null },
    {
      name: "an exact match",
      rewrites: [{ name: "r", ...forA("b") }],
      model: "a",
      target: "b",
      rewrite: "r",
    },
    {
      name: "no match: the client's own name",
      rewrites: [{ name: "r", ...forA("b") }],
      model: "A",
      target: "A",
      rewrite: null,
    },
    {
      name: "matches are alternatives",
      rewrites: [{ name: "r", rules: [{ matches: exact("x", "a"), targets: to("b") }] }],
      model: "a",
      target: "b",
      rewrite: "r",
    },
    {
      name: "a generic rule takes what nothing else does",
      rewrites: [{ name: "r", ...generic }],
      model: "a",
      target: "generic",
      rewrite: "r",
    },
    {
      name: "exact comes before generic, though it is younger",
      rewrites: [
        { name: "old", creationTimestamp: at(1), ...generic },
        { name: "new", creationTimestamp: at(2), ...forA("b") },
      ],
      model: "a",
      target: "b",
      rewrite: "new",
    },
    {
      name: "the oldest counts, wherever it stands",
      rewrites: [
        { name: "new", creationTimestamp: at(2), ...forA("new-target") },
        { name: "old", creationTimestamp: at(1), ...forA("old-target") },
      ],
      model: "a",
      target: "old-target",
      rewrite: "old",
    },
    {
      name: "the oldest of generic rules, too",
      rewrites: [
        { name: "new", creationTimestamp: at(2), rules: [{ targets: to("new-target") }] },
        { name: "old", creationTimestamp: at(1), rules: [{ targets: to("old-target") }] },
      ],
      model: "a",
      target: "old-target",
      rewrite: "old",
    },
    {
      name: "without a time it is the youngest",
      rewrites: [
        { name: "timeless", ...forA("b") },
        { name: "timed", creationTimestamp: at(9), ...forA("c") },
      ],
      model: "a",
      target: "c",
      rewrite: "timed",
    },
    {
      name: "within a rewrite the first rule counts",
      rewrites: [
        {
          name: "r",
          rules: [
            { matches: exact("a"), targets: to("first") },
            { matches: exact("a"), targets: to("second") },
          ],
        },
      ],
      model: "a",
      target: "first",
      rewrite: "r",
    },
    {
      name: "the header names the model where no rule matches",
      rewrites: [{ name: "r", ...forA("b") }],
      model: "x",
      header: "direct-model",
      target: "direct-model",
      rewrite: null,
    },
    {
      name: "a rule overrides the header",
      rewrites: [{ name: "r", ...forA("b") }],
      model: "a",
      header: "direct-model",
      target: "b",
      rewrite: "r",
    },
    {
      name: "a generic rule serves a body without a model",
      rewrites: [{ name: "r", ...generic }],
      model: null,
      target: "generic",
      rewrite: "r",
    },
    {
      name: "and so does the header",
      rewrites: [],
      model: null,
      header: "direct-model",
      target: "direct-model",
      rewrite: null,
    },
  ])("$name", ({ rewrites, model, header, target, rewrite }) => {
    const named = header === undefined ? { model } : { model, header };
    expect(rewritesOf(rewrites).resolve(named, createRng(1))).toEqual({ target, rewrite });
  });

  it("is missing for a body without a model where only exact rules are", () => {
    const rewrites = rewritesOf([{ name: "r", ...forA("b") }]);
    expect(rewrites.resolve({ model: null }, createRng(1))).toBeUndefined();
    expect(rewrites.targetsOfUnnamed).toEqual([]);
    expect([...rewrites.models]).toEqual(["a"]);
  });
});

describe("the target", () => {
  const DRAWS = 2_000;
  function shares(targets: unknown): Record<string, number> {
    const rewrites = rewritesOf([{ name: "r", rules: [{ targets }] }]);
    const rng = createRng(7);
    const counts: Record<string, number> = {};
    for (let i = 0; i < DRAWS; i++) {
      const { target } = rewrites.resolve({ model: "m" }, rng)!;
      counts[target] = (counts[target] ?? 0) + 1 / DRAWS;
    }
    return counts;
  }

  it("is chosen in proportion to the weights", () => {
    const found = shares([
      { modelRewrite: "a", weight: 70 },
      { modelRewrite: "b", weight: 20 },
      { modelRewrite: "c", weight: 10 },
    ]);
    expect(found["a"]).toBeCloseTo(0.7, 1);
    expect(found["b"]).toBeCloseTo(0.2, 1);
    expect(found["c"]).toBeCloseTo(0.1, 1);
  });

  it("is any of them where none has a weight", () => {
    const found = shares(to("a", "b", "c", "d"));
    for (const name of ["a", "b", "c", "d"]) expect(found[name]).toBeCloseTo(0.25, 1);
  });

  it("is never one without a weight where others have one", () => {
    const found = shares([
      { modelRewrite: "a" },
      { modelRewrite: "b", weight: 1 },
      { modelRewrite: "c", weight: 1 },
    ]);
    expect(Object.keys(found).toSorted()).toEqual(["b", "c"]);
  });

  it("is one of the rule's, and the same for the same draw", () => {
    const weights = fc.option(fc.integer({ min: 1, max: 1_000_000 }), { nil: undefined });
    fc.assert(
      fc.property(
        fc.array(weights, { minLength: 1, maxLength: 8 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (list, draw) => {
          const targets = list.map((weight, i) => ({
            modelRewrite: `m${i}`,
            ...(weight === undefined ? {} : { weight }),
          }));
          const rewrites = rewritesOf([{ name: "r", rules: [{ targets }] }]);
          const { target } = rewrites.resolve({ model: "m" }, () => draw)!;
          const index = Number(target.slice(1));
          const isWeighted = list.some((weight) => weight !== undefined);
          expect(index).toBeLessThan(list.length);
          expect(list[index] !== undefined).toBe(isWeighted);
          expect(rewrites.resolve({ model: "m" }, () => draw)!.target).toBe(target);
        },
      ),
    );
  });
});

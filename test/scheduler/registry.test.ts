import { describe, expect, expectTypeOf, it } from "vitest";
import {
  FILTERS,
  PICKERS,
  pluginOf,
  type ScorerRef,
  SCORERS,
  scorerRefSchema,
} from "../../src/scheduler/registry.ts";

describe("registry", () => {
  it("gives every plugin a type of its own", () => {
    const types = [...FILTERS, ...SCORERS, ...PICKERS].map((plugin) => plugin.type);
    expect(new Set(types).size).toBe(types.length);
  });

  it("fills a reference's defaults, of the plugin and of the weight", () => {
    expect(scorerRefSchema.parse({ type: "prefix-cache-scorer" })).toEqual({
      type: "prefix-cache-scorer",
      weight: 1,
      params: { matchLengthWeight: 0, matchLengthScaleTokens: 8192 },
    });
  });

  it.for([
    { name: "an unknown plugin", ref: { type: "nope" }, path: ["type"], code: "invalid_union" },
    {
      name: "a misspelt parameter",
      ref: { type: "no-hit-lru-scorer", params: { lruSise: 1 } },
      path: ["params"],
      code: "unrecognized_keys",
    },
    {
      name: "a parameter out of range",
      ref: { type: "no-hit-lru-scorer", params: { lruSize: 1025 } },
      path: ["params", "lruSize"],
      code: "too_big",
    },
    {
      name: "a weight of nothing",
      ref: { type: "queue-scorer", weight: 0 },
      path: ["weight"],
      code: "too_small",
    },
    {
      name: "a weight beyond the bound",
      ref: { type: "queue-scorer", weight: 1001 },
      path: ["weight"],
      code: "too_big",
    },
  ])("names $name", ({ ref, path, code }) => {
    expect(scorerRefSchema.safeParse(ref).error?.issues[0]).toMatchObject({ path, code });
  });

  it("infers each plugin's parameters", () => {
    type NoHitRef = Extract<ScorerRef, { type: "no-hit-lru-scorer" }>;
    expectTypeOf<NoHitRef["params"]>().toEqualTypeOf<{ lruSize: number }>();
    expectTypeOf<ScorerRef["type"]>().toEqualTypeOf<(typeof SCORERS)[number]["type"]>();
  });

  it("finds a plugin by its type, and says which is missing", () => {
    expect(pluginOf(SCORERS, { type: "queue-scorer" })).toBe(SCORERS[0]);
    expect(() => pluginOf(SCORERS, { type: "nope" })).toThrow("plugin type nope");
  });
});

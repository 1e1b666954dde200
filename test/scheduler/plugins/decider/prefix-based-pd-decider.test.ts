import { describe, expect, it } from "vitest";
import { CONTENT_BLOCK_TOKENS } from "../../../../src/scheduler/kv/content-keys.ts";
import type { Decider } from "../../../../src/scheduler/plugin.ts";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, createPlugin } from "../../support/plugins.ts";

const TYPE = "prefix-based-pd-decider";

describe("prefix-based-pd-decider", () => {
  const decide = (params: object, promptTokens: number, matchedBlocks = 0, slot = 0) => {
    const context = pickContext([{ matchedBlocks }, {}], {
      totalBlocks: 20,
      request: { promptTokens },
    });
    return (createPlugin(TYPE, params) as Decider).decide(context, slot);
  };

  it.for([
    { name: "never by default", params: {}, tokens: 99_999, want: false },
    {
      name: "to a prompt of just that length",
      params: { nonCachedTokens: 640 },
      tokens: 640,
      want: true,
    },
    { name: "not to a shorter one", params: { nonCachedTokens: 640 }, tokens: 639, want: false },
    {
      name: "to what is left uncached",
      params: { nonCachedTokens: 640 },
      tokens: 960,
      blocks: 5,
      want: true,
    },
    { name: "not to less", params: { nonCachedTokens: 640 }, tokens: 959, blocks: 5, want: false },
    {
      name: "not below promptTokens",
      params: { nonCachedTokens: 1, promptTokens: 100 },
      tokens: 99,
      want: false,
    },
    {
      name: "from promptTokens on",
      params: { nonCachedTokens: 1, promptTokens: 100 },
      tokens: 100,
      want: true,
    },
  ])("says yes $name: $want", ({ params, tokens, blocks = 0, want }) => {
    expect(decide(params, tokens, blocks)).toBe(want);
  });

  it("looks at the endpoint that it is asked about", () => {
    expect(decide({ nonCachedTokens: 640 }, 700, 5, 0)).toBe(false);
    expect(decide({ nonCachedTokens: 640 }, 700, 5, 1)).toBe(true);
  });

  it("says no without an endpoint", () => {
    expect(decide({ nonCachedTokens: 1 }, 700, 0, -1)).toBe(false);
  });

  describe("without a match", () => {
    const decideOf = (promptTokens: number, blocks: number) => {
      const context = pickContext([{}], {
        request: { promptTokens, keys: new Uint32Array(2 * blocks) },
      });
      const decider = createPlugin(TYPE, { nonCachedTokens: 10 }) as Decider;
      return decider.decide(context, 0);
    };

    it("takes all of a prompt that is shorter than a block for not cached", () => {
      expect(decideOf(9, 0)).toBe(false);
      expect(decideOf(10, 0)).toBe(true);
      expect(decideOf(CONTENT_BLOCK_TOKENS, 0)).toBe(true);
    });

    it("says no of a longer one, whose blocks nobody has told or looked at", () => {
      expect(decideOf(CONTENT_BLOCK_TOKENS + 1, 0)).toBe(false);
      expect(decideOf(10 * CONTENT_BLOCK_TOKENS, 10)).toBe(false);
    });
  });

  it("counts cached blocks in full, whatever their tier", () => {
    const context = pickContext([{}], {
      totalBlocks: 20,
      request: { promptTokens: 700 },
    });
    context.prefix = {
      matchedBlocks: Int32Array.of(10),
      weightedBlocks: Float64Array.of(1),
      totalBlocks: 10,
      blockTokens: 64,
    };
    const decider = createPlugin(TYPE, { nonCachedTokens: 61 }) as Decider;
    expect(decider.decide(context, 0)).toBe(false);
  });

  it("warns that it does nothing by default", () => {
    const plugin = pluginOf(TYPE);
    expect(plugin.notes!(plugin.params.parse({}))).toHaveLength(1);
    expect(plugin.notes!(plugin.params.parse({ nonCachedTokens: 1 }))).toEqual([]);
  });

  it("refuses negative numbers", () => {
    expect(accepts(TYPE, { nonCachedTokens: -1 })).toBe(false);
    expect(accepts(TYPE, { promptTokens: -1 })).toBe(false);
  });
});

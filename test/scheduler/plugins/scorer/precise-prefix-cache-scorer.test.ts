import { describe, expect, it } from "vitest";
import type { DataReader, PrefixMatch } from "../../../../src/scheduler/data/data.ts";
import type { DataProducer, Scorer } from "../../../../src/scheduler/plugin.ts";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPlugin, scoresOf } from "../../support/plugins.ts";

const TYPE = "precise-prefix-cache-scorer";

function scores(theirs: PrefixMatch | undefined, params: object = {}): number[] {
  const plugin = createPlugin(TYPE, params) as Scorer & DataProducer;
  const asked: string[] = [];
  const data: DataReader = {
    get: (_key, producer) => {
      asked.push(producer);
      return theirs as never;
    },
  };
  const context = { ...pickContext([{ matchedBlocks: 2 }, {}], { totalBlocks: 4 }), data };
  plugin.produce(context);
  const result = scoresOf(plugin, context);
  expect(new Set(asked)).toEqual(new Set(["precise-prefix-cache-producer"]));
  return result;
}

describe("precise-prefix-cache-scorer", () => {
  it("scores what the precise producer tells", () => {
    const blocks = Int32Array.of(1, 4);
    const theirs = {
      matchedBlocks: blocks,
      weightedBlocks: blocks,
      totalBlocks: 4,
      blockTokens: 64,
    };
    expect(scores(theirs)).toEqual([0.25, 1]);
  });

  it("scores what its own index tells where there is no such producer", () => {
    expect(scores(undefined)).toEqual([0.5, 0]);
    const params = { matchLengthWeight: 1, matchLengthScaleTokens: 4 * 64 };
    expect(scores(undefined, params)).toEqual([0.25, 0]);
  });

  it("takes the producer's parameters, and says what to use instead", () => {
    const plugin = pluginOf(TYPE);
    const given = { kvEventsConfig: { topicFilter: "kv@" }, indexerConfig: {} };
    expect(plugin.params.safeParse(given).success).toBe(true);
    expect(plugin.deprecated).toContain("prefix-cache-scorer");
  });
});

import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

describe("multicluster-prefix-cache-scorer", () => {
  it("scores the matched share", () => {
    const context = pickContext([{ matchedBlocks: 2 }, {}], { totalBlocks: 4 });
    expect(scoresOf(createScorer("multicluster-prefix-cache-scorer"), context)).toEqual([0.5, 0]);
  });

  it("reads its own kind of producer", () => {
    const plugin = pluginOf("multicluster-prefix-cache-scorer");
    expect(plugin.consumes!(plugin.params.parse({}))).toEqual([
      { key: "prefix-match", producer: "multicluster-approx-prefix-cache-producer" },
    ]);
  });
});

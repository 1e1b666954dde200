import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

describe("multicluster-approx-prefix-cache-producer", () => {
  it("tells how much of a prompt each cluster holds", () => {
    const producer = createProducer("multicluster-approx-prefix-cache-producer");
    producer.produce(pickContext([{ matchedBlocks: 3 }, {}], { totalBlocks: 4 }));
    const { matchedBlocks, totalBlocks } = producer.data["prefix-match"]!;
    expect([...matchedBlocks.subarray(0, 2), totalBlocks]).toEqual([3, 0, 4]);
  });

  it("has the parameters of the producer for endpoints", () => {
    const { params } = pluginOf("multicluster-approx-prefix-cache-producer");
    expect(params.parse({})).toEqual(pluginOf("approx-prefix-cache-producer").params.parse({}));
  });
});

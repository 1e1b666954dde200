import { describe, expect, it } from "vitest";
import { CONTENT_BLOCK_TOKENS } from "../../../../src/scheduler/kv/content-keys.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

const ROWS = [{ matchedBlocks: 0 }, { matchedBlocks: 3 }, { matchedBlocks: 4 }];
const TOTAL_BLOCKS = 4;
const WHOLE = TOTAL_BLOCKS * CONTENT_BLOCK_TOKENS;

function uncached(params: object, request: object = { promptTokens: WHOLE + 20 }): number[] {
  const producer = createProducer("inflight-load-producer", params);
  producer.produce(pickContext(ROWS, { totalBlocks: TOTAL_BLOCKS, request }));
  return [...producer.data["uncached-tokens"]!.tokens.subarray(0, ROWS.length)];
}

describe("inflight-load-producer", () => {
  it("tells what the ledger counts", () => {
    const producer = createProducer("inflight-load-producer");
    producer.produce(pickContext([{ inFlightRequests: 2, inFlightTokens: 700 }, {}]));
    const load = producer.data["in-flight-load"]!;
    expect([...load.requests]).toEqual([2, 0]);
    expect([...load.tokens]).toEqual([700, 0]);
  });

  it("tells what is not cached, the end past the last block included", () => {
    expect(uncached({})).toEqual([WHOLE + 20, CONTENT_BLOCK_TOKENS + 20, 20]);
  });

  it("counts a whole prompt where nobody knows what is cached", () => {
    const producer = createProducer("inflight-load-producer");
    const context = pickContext([{}], { request: { promptTokens: 300 } });
    producer.produce({ ...context, data: { get: () => undefined } });
    expect(producer.data["uncached-tokens"]!.tokens[0]).toBe(300);
  });

  it.for([
    { name: "a ratio of the prompt", params: {}, outputTokensMax: null, want: 30 },
    { name: "at most what the client allows", params: {}, outputTokensMax: 7, want: 7 },
    {
      name: "at most the bound",
      params: { maxEstimatedOutputTokens: 5 },
      outputTokensMax: 7,
      want: 5,
    },
    { name: "another ratio", params: { outputRatio: 0.5 }, outputTokensMax: null, want: 10 },
  ])("estimates output as $name", ({ params, outputTokensMax, want }) => {
    const request = { promptTokens: 20, outputTokensMax };
    const producer = createProducer("inflight-load-producer", {
      addEstimatedOutputTokens: true,
      ...params,
    });
    producer.produce(pickContext([{}], { request }));
    expect(producer.data["uncached-tokens"]!.tokens[0]).toBe(20 + want);
  });
});

import { describe, expect, it } from "vitest";
import {
  type EndpointRow,
  pickContext,
  type PickContextOptions,
} from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

const TOTAL_BLOCKS = 10;

function sourceOf(
  rows: readonly EndpointRow[],
  options: PickContextOptions & { readonly pick?: number; readonly params?: object } = {},
): number {
  const producer = createProducer("p2p-source-producer", options.params);
  const context = pickContext(rows, { totalBlocks: TOTAL_BLOCKS, ...options });
  producer.produce(context);
  if (options.pick !== undefined) producer.onPicked?.(context, options.pick);
  return producer.data["cache-source"]!.slot;
}

/** How often each slot is the source, over many requests. */
function shares(rows: readonly EndpointRow[]): number[] {
  const counts = rows.map(() => 0);
  for (let i = 0; i < 2_000; i++)
    counts[sourceOf(rows, { request: { requestId: `request-${i}` } })]! += 1;
  return counts.map((count) => count / 2_000);
}

describe("p2p-source-producer", () => {
  it("names the endpoint that holds most", () => {
    expect(sourceOf([{ matchedBlocks: 2 }, { matchedBlocks: 9 }, {}])).toBe(1);
    expect(sourceOf([{}, {}])).toBe(-1);
  });

  it("draws among those within a block, rather one with a short queue", () => {
    const rows = [{ matchedBlocks: 9, queueDepth: 3 }, { matchedBlocks: 8 }, { matchedBlocks: 7 }];
    const [busy, idle, less] = shares(rows);
    expect(less).toBe(0);
    expect(busy).toBeGreaterThan(0.15);
    expect(busy).toBeLessThan(0.25);
    expect(busy! + idle!).toBe(1);
  });

  it("draws the same for the same request", () => {
    const rows = [{ matchedBlocks: 9 }, { matchedBlocks: 9 }];
    const request = { requestId: "again" };
    expect(sourceOf(rows, { request })).toBe(sourceOf(rows, { request }));
  });

  it("names no endpoint that may hang, and none that holds nothing", () => {
    expect(shares([{ matchedBlocks: 9, ageMs: Infinity }, { matchedBlocks: 1 }, {}])).toEqual([
      0, 1, 0,
    ]);
    expect(sourceOf([{ matchedBlocks: 9, ageMs: Infinity }, {}])).toBe(-1);
  });

  it("takes it back when copying saves too little", () => {
    const rows = [{ matchedBlocks: 9 }, { matchedBlocks: 5 }];
    expect(sourceOf(rows, { pick: 0 })).toBe(-1);
    expect(sourceOf(rows, { pick: 1 })).toBe(0);
    expect(sourceOf(rows, { pick: 1, params: { minCachedTokenDelta: 4 * 64 } })).toBe(0);
    expect(sourceOf(rows, { pick: 1, params: { minCachedTokenDelta: 4 * 64 + 1 } })).toBe(-1);
  });

  it("compares with the endpoint that reads the prompt", () => {
    const rows = [{ matchedBlocks: 9 }, {}];
    expect(sourceOf(rows, { pick: 1, results: { prefill: 0 } })).toBe(-1);
    expect(sourceOf(rows, { pick: 0, results: { prefill: 1 } })).toBe(0);
    expect(sourceOf(rows, { pick: 1, results: { prefill: -1 } })).toBe(0);
  });
});

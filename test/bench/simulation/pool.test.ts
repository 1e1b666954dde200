import { describe, expect, it } from "vitest";
import { Flight } from "../../../bench/simulation/flight.ts";
import { Pool } from "../../../bench/simulation/pool.ts";
import type { RoutedRequest } from "../../../bench/simulation/policy.ts";

const SAMPLE = { waiting: 0, running: 0, kvUsage: 0, kvBlockSize: 16, kvBlocks: 1_000 };

function createRequest(index = 0): RoutedRequest {
  const blocks = Int32Array.from({ length: 64 }, (_, i) => i);
  const truth = { promptTokens: 640, outputTokens: 384, outputTokensMax: 100, blocks };
  const session = { startMs: 0, turns: [{ request: truth, delayMs: 0 }] };
  const at = { index, sessionIndex: 0, session, turn: 0, sentAtMs: 0, isMeasured: true };
  return new Flight(at).request;
}

function matched(pool: Pool, request: RoutedRequest): number[] {
  const out = new Int32Array(1_024);
  pool.prefixSources.approximate(request.inference.keys, out);
  return [...out.subarray(0, 2)];
}

describe("Pool", () => {
  it("charges at once what is not cached and what may be answered", () => {
    const pool = new Pool(2, 200);
    pool.open(createRequest(), { slot: 1, matchedBlocks: 4 }, 0);
    expect(pool.table.columns.inFlightTokens[1]).toBe(640 - 4 * 64 + 100);
    expect(pool.table.columns.inFlightRequests[1]).toBe(1);
  });

  it("learns a prefix when the engine has the prompt, not before", () => {
    const pool = new Pool(2, 200);
    const request = createRequest();
    pool.open(request, { slot: 1, matchedBlocks: 0 }, 0);
    expect(matched(pool, request)).toEqual([0, 0]);
    pool.dispatched(request, 1, 20);
    expect(matched(pool, request)).toEqual([0, 10]);
  });

  it("moves the load to the endpoint that took it after all", () => {
    const pool = new Pool(2, 200);
    const request = createRequest();
    pool.open(request, { slot: 0, matchedBlocks: 0 }, 0);
    pool.dispatched(request, 1, 20);
    expect([...pool.table.columns.inFlightRequests.subarray(0, 2)]).toEqual([0, 1]);
    expect(matched(pool, request)).toEqual([0, 10]);
  });

  it("takes the load off at the end, and keeps the prefix", () => {
    const pool = new Pool(2, 200);
    const request = createRequest();
    pool.open(request, { slot: 0, matchedBlocks: 0 }, 0);
    pool.dispatched(request, 0, 20);
    const usage = { promptTokens: 640, cachedTokens: 0, completionTokens: 384 };
    pool.finished(request, { ttftMs: 100, durationMs: 9_000, ...usage });
    expect(pool.table.columns.inFlightTokens[0]).toBe(0);
    expect(matched(pool, request)).toEqual([10, 0]);
  });

  it("forgets the prefix of a request that was shed", () => {
    const pool = new Pool(2, 200);
    const request = createRequest();
    pool.open(request, { slot: 0, matchedBlocks: 0 }, 0);
    pool.shed(request);
    expect(pool.table.columns.inFlightRequests[0]).toBe(0);
    expect(matched(pool, request)).toEqual([0, 0]);
  });

  it("believes no endpoint to hold more than its cache", () => {
    const pool = new Pool(2, 200);
    const request = createRequest();
    pool.sampled(0, { ...SAMPLE, kvBlocks: 20 }, 0);
    pool.open(request, { slot: 0, matchedBlocks: 0 }, 0);
    pool.dispatched(request, 0, 20);
    expect(matched(pool, request)).toEqual([5, 0]);
  });
});

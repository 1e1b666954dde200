import { describe, expect, it } from "vitest";
import { predictTtftMs } from "../../../src/scheduler/model/predict-ttft.ts";
import { endpointColumns, NOW_MS } from "../support/pick-context.ts";

function predicted(row: Parameters<typeof endpointColumns>[0][number], uncachedTokens = 0): number {
  return predictTtftMs(endpointColumns([row]), 0, { nowMs: NOW_MS, uncachedTokens });
}

describe("predictTtftMs", () => {
  const idle = predicted({});

  it("adds the prefill of what is not cached, at the endpoint's speed", () => {
    expect(predicted({ prefillMsPerToken: 0.2 }, 1_000) - idle).toBeCloseTo(200);
    expect(predicted({ prefillMsPerToken: 0.1 }, 1_000) - idle).toBeCloseTo(100);
  });

  it("waits for prompts that were sent there before, and not for those that are done", () => {
    expect(predicted({ prefillBusyMs: 300 }) - idle).toBeCloseTo(300);
    expect(predicted({ prefillBusyMs: -300 })).toBe(idle);
  });

  it("waits for requests to end where memory is full, and only there", () => {
    const queued = { queueDepth: 4, serviceMs: 1_600, requestTokens: 1_000 };
    const known = { ...queued, kvCapacityTokens: 8_000 };
    expect(predicted({ ...known, kvUsage: 0.99 }) - idle).toBeCloseTo(800);
    expect(predicted({ ...known, kvUsage: 0.5 })).toBe(idle);
    expect(predicted({ ...known, kvUsage: 0.99, runningRequests: 50 }) - idle).toBeCloseTo(800);
    expect(predicted({ ...queued, kvUsage: 1 }) - idle).toBeCloseTo(6_400);
    expect(predicted({ ...known, requestTokens: 0, kvUsage: 1 }) - idle).toBeCloseTo(6_400);
  });
});

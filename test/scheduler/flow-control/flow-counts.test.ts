import { describe, expect, it } from "vitest";
import {
  FlowService,
  jainIndex,
  SERVICE_WINDOW_MS,
} from "../../../src/scheduler/flow-control/flow-counts.ts";
import { NOW_MS } from "../support/flow-control.ts";

it.for([
  { values: [5, 5, 5], want: 1 },
  { values: [9, 0, 0], want: 1 / 3 },
  { values: [1, 3], want: 0.8 },
  { values: [0, 0], want: 1 },
  { values: [], want: 1 },
])("jainIndex of $values is $want", ({ values, want }) => {
  expect(jainIndex(values)).toBeCloseTo(want, 12);
});

describe("FlowService", () => {
  it("tells what was served in this window and the last", () => {
    const service = new FlowService();
    const tokens = { uncachedTokens: 100, outputTokens: 10 };
    service.add(tokens, NOW_MS);
    service.add(tokens, NOW_MS + SERVICE_WINDOW_MS);
    expect(service.tokensLately(NOW_MS + SERVICE_WINDOW_MS)).toBe(240);
    expect(service.tokensLately(NOW_MS + 2 * SERVICE_WINDOW_MS)).toBe(120);
    expect(service.tokensLately(NOW_MS + 4 * SERVICE_WINDOW_MS)).toBe(0);
  });

  it("takes corrections, and is never less than nothing", () => {
    const service = new FlowService();
    service.add({ uncachedTokens: 100, outputTokens: 10 }, NOW_MS);
    service.add({ uncachedTokens: -50, outputTokens: 0 }, NOW_MS);
    expect(service.tokensLately(NOW_MS)).toBe(70);
    service.add({ uncachedTokens: -500, outputTokens: 0 }, NOW_MS);
    expect(service.tokensLately(NOW_MS)).toBe(0);
  });
});

import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

function scores(
  inFlight: readonly number[],
  uncached: readonly number[],
  params: object,
): number[] {
  const rows = inFlight.map((inFlightTokens) => ({ inFlightTokens }));
  const data = { "uncached-tokens": { tokens: Float64Array.from(uncached) } };
  return scoresOf(createScorer("token-load-scorer", params), pickContext(rows, { data }));
}

describe("token-load-scorer", () => {
  const params = { queueThresholdTokens: 1_000 };

  it("adds what the request would have to compute to what is in flight", () => {
    expect(scores([0, 500, 500], [0, 0, 250], params)).toEqual([1, 0.5, 0.25]);
  });

  it("ends at its threshold", () => {
    expect(scores([1_000, 9_000], [0, 0], params)).toEqual([0, 0]);
  });

  it("tells loads of a few requests hardly apart with its default", () => {
    const [idle, loaded] = scores([0, 10_000], [0, 0], {});
    expect(idle).toBe(1);
    expect(loaded).toBeGreaterThan(0.997);
  });

  it("gives nothing without its producer", () => {
    const context = { ...pickContext([{}]), data: { get: () => undefined } };
    expect(scoresOf(createScorer("token-load-scorer"), context)).toEqual([0]);
  });
});

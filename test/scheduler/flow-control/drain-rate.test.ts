import { describe, expect, it } from "vitest";
import { DrainRate, RETRY_AFTER_MS } from "../../../src/scheduler/flow-control/drain-rate.ts";
import { NOW_MS } from "../support/flow-control.ts";

/** A band in which something waits, served every so often for a while. */
function served(everyMs: number, times: number): DrainRate {
  const drain = new DrainRate();
  drain.setWaiting(true, NOW_MS);
  for (let i = 1; i <= times; i++) drain.served(NOW_MS + i * everyMs);
  return drain;
}

describe("DrainRate", () => {
  it("is what the band is served while something waits", () => {
    expect(served(100, 50).perSecond(NOW_MS + 5_000)).toBeCloseTo(10, 0);
    expect(served(100, 5).perSecond(NOW_MS + 500)).toBeCloseTo(10, 0);
  });

  it("does not count time in which nothing waited", () => {
    const drain = served(100, 50);
    drain.setWaiting(false, NOW_MS + 5_000);
    expect(drain.perSecond(NOW_MS + 900_000)).toBeCloseTo(10, 0);
  });

  it("follows a band that is not served any more", () => {
    const drain = served(100, 200);
    expect(drain.retryAfterMs(50, NOW_MS + 20_000)).toBeCloseTo(5_000, -3);
    expect(drain.retryAfterMs(50, NOW_MS + 30_000)).toBeGreaterThan(8_000);
    expect(drain.retryAfterMs(50, NOW_MS + 90_000)).toBe(RETRY_AFTER_MS.max);
  });

  it("knows nothing before anything has waited", () => {
    const drain = new DrainRate();
    expect(drain.perSecond(NOW_MS)).toBeUndefined();
    expect(drain.retryAfterMs(1_000, NOW_MS)).toBe(RETRY_AFTER_MS.unknown);
  });

  it("never says less than a second", () => {
    expect(served(1, 500).retryAfterMs(3, NOW_MS + 500)).toBe(RETRY_AFTER_MS.min);
  });
});

import { afterEach, describe, expect, inject, it, vi } from "vitest";
import {
  RTT_FIRST_INTERVAL_MS,
  RTT_KEPT_MS,
  RTT_POOLS_MAX,
  RTT_PROBE_DEADLINE_MS,
  RTT_PROBE_INTERVAL_MS,
  RTT_PROBES_KEPT,
  RttMeter,
} from "../../../src/worker/pools/rtt-meter.ts";

const NOW_MS = 1_000_000;

function meter(...probesMs: number[]): RttMeter {
  const meter = new RttMeter();
  meter.takeTurn("p", NOW_MS);
  for (const ms of probesMs) meter.add("p", ms, NOW_MS);
  return meter;
}

const head = (url: string) => (signal: AbortSignal) => fetch(url, { method: "HEAD", signal });

describe("what was measured", () => {
  it("is the least of the last probes", () => {
    expect(meter(40, 30, 50).rttMs("p", NOW_MS)).toBe(30);
    expect(meter(10, ...Array<number>(RTT_PROBES_KEPT).fill(30)).rttMs("p", NOW_MS)).toBe(30);
  });

  it("is nothing before the first, and after a while", () => {
    expect(meter().rttMs("p", NOW_MS)).toBeUndefined();
    expect(meter(40).rttMs("other", NOW_MS)).toBeUndefined();
    expect(meter(40).rttMs("p", NOW_MS + RTT_KEPT_MS - 1)).toBe(40);
    expect(meter(40).rttMs("p", NOW_MS + RTT_KEPT_MS)).toBeUndefined();
  });

  it("does not outlast a time in which nothing was", () => {
    const old = meter(10);
    old.add("p", 40, NOW_MS + RTT_KEPT_MS);
    expect(old.rttMs("p", NOW_MS + RTT_KEPT_MS)).toBe(40);
  });
});

describe("whose turn it is", () => {
  it("is one request's in a while", () => {
    const meter = new RttMeter();
    expect(meter.takeTurn("p", NOW_MS)).toBe(true);
    expect(meter.takeTurn("p", NOW_MS)).toBe(false);
    expect(meter.takeTurn("q", NOW_MS)).toBe(true);
    expect(meter.takeTurn("p", NOW_MS + RTT_PROBE_INTERVAL_MS - 1)).toBe(false);
    expect(meter.takeTurn("p", NOW_MS + RTT_PROBE_INTERVAL_MS)).toBe(true);
  });

  it("comes sooner while there are few values, for the first may be a bad one", () => {
    const meter = new RttMeter();
    let nowMs = NOW_MS;
    meter.takeTurn("p", nowMs);
    for (let probe = 1; probe <= RTT_PROBES_KEPT; probe++) {
      meter.add("p", 900, nowMs);
      const intervalMs = probe < RTT_PROBES_KEPT ? RTT_FIRST_INTERVAL_MS : RTT_PROBE_INTERVAL_MS;
      expect(meter.takeTurn("p", nowMs + intervalMs - 1)).toBe(false);
      expect(meter.takeTurn("p", nowMs + intervalMs)).toBe(true);
      nowMs += intervalMs;
    }
  });

  it("is remembered of every pool of a full deployment, and of no more", () => {
    const meter = new RttMeter();
    for (let i = 0; i < RTT_POOLS_MAX; i++) expect(meter.takeTurn(`p${i}`, NOW_MS)).toBe(true);
    expect(meter.takeTurn("p0", NOW_MS)).toBe(false);
    expect(meter.takeTurn("one-more", NOW_MS)).toBe(true);
    expect(meter.takeTurn("p0", NOW_MS)).toBe(true);
  });
});

describe("a probe", () => {
  afterEach(() => vi.useRealTimers());

  it("measures whatever answers", async () => {
    const meter = new RttMeter();
    meter.takeTurn("p", Date.now());
    expect(await meter.probe("p", head(`${inject("relayUrl")}/seen/nothing`))).toBe("measured");
    expect(meter.rttMs("p", Date.now())).toBeLessThan(RTT_PROBE_DEADLINE_MS);
  });

  it("is broken where nobody listens, and measures nothing", async () => {
    const meter = new RttMeter();
    meter.takeTurn("p", Date.now());
    expect(await meter.probe("p", head(inject("deadUrl")))).toBe("broken");
    expect(meter.rttMs("p", Date.now())).toBeUndefined();
  });

  it("ends with its deadline, and keeps what the first request took", async () => {
    vi.useFakeTimers();
    const meter = new RttMeter();
    meter.takeTurn("p", Date.now());
    const signals: AbortSignal[] = [];
    const probed = meter.probe("p", (signal) => {
      signals.push(signal);
      if (signals.length === 1) return Promise.resolve(new Response(null));
      return new Promise(() => undefined);
    });
    await vi.advanceTimersByTimeAsync(RTT_PROBE_DEADLINE_MS);
    expect(await probed).toBe("late");
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    expect(meter.rttMs("p", Date.now())).toBe(0);
  });
});

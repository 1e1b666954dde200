import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ServiceRecord } from "../../../src/scheduler/pools/service-record.ts";

const NOW_MS = 1_000_000;
const SLOW_START_MS = 5_000;

function begun(isKnown = true): ServiceRecord {
  const record = new ServiceRecord(1);
  record.begin(0, isKnown);
  return record;
}

function observe(record: ServiceRecord, isIn: boolean, nowMs: number): number {
  return record.observe(0, isIn, { nowMs, slowStartMs: SLOW_START_MS });
}

describe("slow start", () => {
  it("gives a pool its whole share that was there from the beginning", () => {
    expect(observe(begun(), true, NOW_MS)).toBe(1);
  });

  it("gives a pool that is new or back a tenth of its share, and all of it by and by", () => {
    const record = begun(false);
    expect(observe(record, true, NOW_MS)).toBe(0.1);
    expect(observe(record, true, NOW_MS + 2_500)).toBeCloseTo(0.55);
    expect(observe(record, true, NOW_MS + 5_000)).toBe(1);
    observe(record, false, NOW_MS + 100_000);
    expect(observe(record, true, NOW_MS + 101_000)).toBe(0.1);
  });

  it("can be left out", () => {
    const record = begun(false);
    expect(record.observe(0, true, { nowMs: NOW_MS, slowStartMs: 0 })).toBe(1);
  });
});

describe("a pool that comes and goes", () => {
  it("is held back for longer each time it does not stay", () => {
    const record = begun();
    observe(record, true, NOW_MS);
    let nowMs = NOW_MS + 20_000;
    for (const heldMs of [0, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      observe(record, false, nowMs);
      nowMs += 1_000;
      const whileHeld = heldMs > 0 ? 0 : 0.1;
      expect(observe(record, true, nowMs)).toBe(whileHeld);
      expect(observe(record, true, nowMs + Math.max(0, heldMs - 1))).toBe(whileHeld);
      expect(observe(record, true, nowMs + heldMs)).toBe(0.1);
      nowMs += heldMs;
    }
    // Long enough after so many relapses.
    observe(record, false, nowMs + 12_000 * 7);
    expect(observe(record, true, nowMs + 12_000 * 7 + 1_000)).toBe(0.1);
  });

  it("is not held back where it has stayed in between", () => {
    const record = begun();
    let nowMs = NOW_MS;
    observe(record, true, nowMs);
    for (let i = 0; i < 5; i++) {
      observe(record, false, nowMs);
      expect(observe(record, true, nowMs + 1_000)).toBe(0.1);
      nowMs += 13_000;
      expect(observe(record, true, nowMs)).toBe(1);
    }
    observe(record, false, nowMs);
    observe(record, true, nowMs + 1_000);
    observe(record, false, nowMs + 12_000);
    expect(observe(record, true, nowMs + 12_100)).toBe(0);
  });

  it("is not held back for having been drained", () => {
    const record = begun();
    for (let nowMs = NOW_MS; nowMs < NOW_MS + 5_000; nowMs += 1_000) {
      observe(record, true, nowMs);
      observe(record, false, nowMs + 100);
      record.taken(0);
      observe(record, false, nowMs + 200);
      expect(observe(record, true, nowMs + 300)).toBe(0.1);
    }
  });

  it("has been there all along where it is only heard of later than others at the beginning", () => {
    const record = begun();
    observe(record, false, NOW_MS);
    expect(observe(record, true, NOW_MS + 4_999)).toBe(1);
    observe(record, false, NOW_MS + 6_000);
    // The first time that it comes back.
    expect(observe(record, true, NOW_MS + 8_000)).toBe(0.1);
    const late = begun();
    observe(late, false, NOW_MS);
    expect(observe(late, true, NOW_MS + 5_000)).toBe(0.1);
  });

  it("comes into use seven times a minute at most, however it flaps", () => {
    const phasesMs = fc.oneof(
      fc.integer({ min: 50, max: 4_000 }),
      fc.integer({ min: 50, max: 26_000 }),
    );
    fc.assert(
      fc.property(fc.array(phasesMs, { maxLength: 200 }), (phases) => {
        const record = begun();
        const cameIntoUseMs: number[] = [];
        let nowMs = NOW_MS;
        let wasUsed = true;
        phases.forEach((phaseMs, i) => {
          const isIn = i % 2 === 1;
          for (const endMs = nowMs + phaseMs; nowMs < endMs; nowMs += 50) {
            const isUsed = observe(record, isIn, nowMs) > 0 && isIn;
            if (isUsed && !wasUsed) cameIntoUseMs.push(nowMs);
            wasUsed = isUsed;
          }
        });
        const neverStays = phases.every((phaseMs) => phaseMs < 12_000);
        for (const [i, atMs] of cameIntoUseMs.entries()) {
          const inAMinute = cameIntoUseMs.filter((other) => other >= atMs && other < atMs + 60_000);
          // Once it is known for it: twice, or three times where one falls on the border.
          expect(inAMinute.length).toBeLessThanOrEqual(neverStays && i >= 6 ? 3 : 7);
        }
      }),
    );
  });
});

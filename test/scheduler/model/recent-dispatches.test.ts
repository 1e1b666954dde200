import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DISPATCH_TRAVEL_MS,
  DISPATCH_WINDOW_MS,
  RecentDispatches,
} from "../../../src/scheduler/model/recent-dispatches.ts";

const BUCKET_MS = 64;
const START_MS = 1_700_000_000_000;

describe("RecentDispatches", () => {
  it("never forgets a dispatch that the sample could not have seen", () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 150 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 0, max: 1_500 }), (gapsMs, delayMs) => {
        const dispatches = new RecentDispatches(2);
        const times: number[] = [];
        let nowMs = START_MS;
        for (const gapMs of gapsMs) {
          nowMs += gapMs;
          dispatches.add(1, nowMs);
          times.push(nowMs);
        }
        const sampledAtMs = nowMs - delayMs;
        dispatches.sampled(1, sampledAtMs);
        const edgeMs = sampledAtMs - DISPATCH_TRAVEL_MS;
        const unseen = times.filter((ms) => ms >= edgeMs).length;
        const atMost = times.filter((ms) => ms >= edgeMs - BUCKET_MS).length;
        expect(dispatches.count(1)).toBeGreaterThanOrEqual(unseen);
        expect(dispatches.count(1)).toBeLessThanOrEqual(atMost);
        expect(dispatches.count(0)).toBe(0);
      }),
    );
  });

  it("counts everything while no sample comes, however long", () => {
    const dispatches = new RecentDispatches(1);
    for (let i = 0; i < 500; i++) dispatches.add(0, START_MS + i * 50);
    expect(dispatches.count(0)).toBe(500);
    dispatches.add(0, START_MS + 10 * DISPATCH_WINDOW_MS);
    expect(dispatches.count(0)).toBe(501);
  });

  it("is cleared of what is older than its window even by samples that are always too late", () => {
    const dispatches = new RecentDispatches(1);
    const lateMs = 2 * DISPATCH_WINDOW_MS;
    for (let i = 0; i < 1_000; i++) {
      const nowMs = START_MS + i * 100;
      dispatches.add(0, nowMs);
      dispatches.sampled(0, nowMs - lateMs);
      expect(dispatches.count(0)).toBeLessThanOrEqual(DISPATCH_WINDOW_MS / 100 + 1);
    }
  });

  it("counts past what a bucket holds", () => {
    const dispatches = new RecentDispatches(1);
    for (let i = 0; i < 70_000; i++) dispatches.add(0, START_MS);
    expect(dispatches.count(0)).toBe(70_000);
    dispatches.sampled(0, START_MS + 1_000);
    expect(dispatches.count(0)).toBe(0);
  });

  it("counts into the newest bucket when the clock goes back", () => {
    const dispatches = new RecentDispatches(1);
    dispatches.add(0, START_MS);
    dispatches.add(0, START_MS - 5_000);
    dispatches.sampled(0, START_MS);
    expect(dispatches.count(0)).toBe(2);
  });

  it("takes out what has ended before a sample showed it, once, in the window and behind it", () => {
    const dispatches = new RecentDispatches(1);
    const later = 10_000 + 2 * DISPATCH_WINDOW_MS;
    for (const atMs of [10_000, later]) dispatches.add(0, atMs);
    dispatches.remove(0, later);
    expect(dispatches.count(0)).toBe(1);
    dispatches.remove(0, later);
    expect(dispatches.count(0)).toBe(1);
    dispatches.remove(0, 10_000);
    dispatches.remove(0, 10_000);
    expect(dispatches.count(0)).toBe(0);
    dispatches.add(0, later);
    dispatches.sampled(0, later + 10_000);
    dispatches.remove(0, later);
    expect(dispatches.count(0)).toBe(0);
  });

  it("does not count what is told late and a sample has shown", () => {
    const dispatches = new RecentDispatches(1);
    dispatches.sampled(0, START_MS);
    expect(dispatches.addLate(0, START_MS - DISPATCH_TRAVEL_MS - 100)).toBe(false);
    expect(dispatches.addLate(0, START_MS)).toBe(true);
    expect(dispatches.count(0)).toBe(1);
  });

  it("counts what is told late where it was made, in the window and behind it", () => {
    const dispatches = new RecentDispatches(1);
    dispatches.add(0, START_MS);
    for (const agoMs of [500, DISPATCH_WINDOW_MS + 500])
      expect(dispatches.addLate(0, START_MS - agoMs)).toBe(true);
    expect(dispatches.count(0)).toBe(3);
    dispatches.sampled(0, START_MS - 200);
    expect(dispatches.count(0)).toBe(1);
  });

  it("keeps nothing of a slot's predecessor", () => {
    const dispatches = new RecentDispatches(2);
    dispatches.add(0, START_MS);
    dispatches.add(1, START_MS);
    dispatches.clear(0);
    expect([dispatches.count(0), dispatches.count(1)]).toEqual([0, 1]);
    dispatches.add(0, START_MS);
    expect(dispatches.count(0)).toBe(1);
  });
});

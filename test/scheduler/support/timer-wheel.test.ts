import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TICK_MS, TimerWheel } from "../../../src/scheduler/support/timer-wheel.ts";

const NOW_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;

describe("TimerWheel", () => {
  it.for([
    { name: "the next tick", inMs: 1 },
    { name: "a round of the first level", inMs: 64 * TICK_MS },
    { name: "a minute", inMs: 60_000 },
    { name: "an hour", inMs: HOUR_MS },
    { name: "a day", inMs: 24 * HOUR_MS },
    { name: "more than the wheel covers", inMs: 200 * HOUR_MS },
  ])("fires not before its deadline and within a tick of it: $name", ({ inMs }) => {
    const wheel = new TimerWheel(NOW_MS);
    const fired: number[] = [];
    const timer = wheel.add(NOW_MS + inMs);
    wheel.advance(NOW_MS + inMs - 1, (each) => fired.push(each));
    expect(fired).toEqual([]);
    wheel.advance(NOW_MS + inMs + TICK_MS, (each) => fired.push(each));
    expect(fired).toEqual([timer]);
    expect(wheel.size).toBe(0);
  });

  it("fires what an ordered list would, under any jumps, removals and additions", () => {
    const step = fc.record({
      addInMs: fc.option(fc.nat(10 * HOUR_MS)),
      shortInMs: fc.option(fc.nat(3_000)),
      remove: fc.option(fc.nat(50)),
      jumpMs: fc.oneof(fc.nat(200), fc.nat(HOUR_MS)),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const wheel = new TimerWheel(NOW_MS);
        const open = new Map<number, number>();
        let nowMs = NOW_MS;
        for (const { addInMs, shortInMs, remove, jumpMs } of steps) {
          for (const inMs of [addInMs, shortInMs])
            if (inMs !== null) open.set(wheel.add(nowMs + inMs), nowMs + inMs);
          const removed = remove === null ? undefined : [...open.keys()][remove];
          if (removed !== undefined) {
            wheel.remove(removed);
            open.delete(removed);
          }
          nowMs += jumpMs;
          const soonestMs = wheel.earliestMs();
          const lastMs = Math.min(...open.values()) + 2 * TICK_MS;
          expect(soonestMs).toBeLessThanOrEqual(lastMs);
          wheel.advance(nowMs, (timer) => {
            expect(open.get(timer)).toBeLessThanOrEqual(nowMs);
            expect(nowMs).toBeGreaterThanOrEqual(soonestMs);
            open.delete(timer);
          });
          expect(wheel.size).toBe(open.size);
          for (const deadlineMs of open.values())
            expect(deadlineMs).toBeGreaterThan(nowMs - 2 * TICK_MS);
        }
      }),
    );
  });

  it("can be advanced to when it next has something to do, and so fires everything", () => {
    const wheel = new TimerWheel(NOW_MS);
    for (const inMs of [5, 900, 1_100, 65_000, HOUR_MS]) wheel.add(NOW_MS + inMs);
    let wakes = 0;
    while (wheel.size > 0) {
      wheel.advance(wheel.earliestMs(), () => {});
      wakes += 1;
    }
    // Each timer fires once, and moves down three times at most.
    expect(wakes).toBeLessThan(5 * 4);
    expect(wheel.earliestMs()).toBe(Infinity);
  });

  it("lets a timer that fires add others, which fire later", () => {
    const wheel = new TimerWheel(NOW_MS);
    let fired = 0;
    wheel.add(NOW_MS);
    const again = () => {
      fired += 1;
      if (fired < 5) wheel.add(NOW_MS);
    };
    wheel.advance(NOW_MS + 3 * TICK_MS, again);
    expect(fired).toBe(3);
    wheel.advance(NOW_MS + 100, again);
    expect(fired).toBe(5);
  });

  it("keeps a hundred thousand timers, and uses the room of those that are gone again", () => {
    const wheel = new TimerWheel(NOW_MS);
    const first = Array.from({ length: 100_000 }, (_, i) => wheel.add(NOW_MS + i));
    for (const timer of first) wheel.remove(timer);
    const second = Array.from({ length: 100_000 }, (_, i) => wheel.add(NOW_MS + i));
    expect(Math.max(...second.slice(0, 1_000))).toBeLessThanOrEqual(
      Math.max(...first.slice(-1_000)),
    );
    let fired = 0;
    wheel.advance(NOW_MS + 200_000, () => void (fired += 1));
    expect(fired).toBe(100_000);
  });

  it("takes no timer without a deadline", () => {
    for (const deadlineMs of [Number.NaN, Infinity])
      expect(() => new TimerWheel(NOW_MS).add(deadlineMs)).toThrow("deadline");
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClockRing } from "../../../src/scheduler/kv/clock-ring.ts";

describe("ClockRing", () => {
  it("gives ids back in the order they came, over many chunks", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ push: fc.nat(400), shift: fc.nat(400) }), { maxLength: 10 }),
        (steps) => {
          const ring = new ClockRing();
          const oracle: number[] = [];
          let next = 0;
          for (const { push, shift } of steps) {
            for (let i = 0; i < push; i++) {
              ring.push(next);
              oracle.push(next++);
            }
            for (let i = 0; i < shift && oracle.length > 0; i++) {
              expect(ring.shift()).toBe(oracle.shift());
            }
            expect(ring.length).toBe(oracle.length);
          }
        },
      ),
    );
  });

  it("keeps an id's position while others come and go", () => {
    const ring = new ClockRing(5);
    for (let id = 0; id < 2_000; id++) {
      ring.push(id);
      if (id % 3 === 1) ring.shift();
      for (const position of [ring.start, (ring.start + ring.end) >>> 1, ring.end - 1]) {
        expect(ring.at(position)).toBe(position - 5);
      }
    }
    while (ring.length > 0) ring.shift();
    expect([ring.start, ring.end]).toEqual([2_005, 2_005]);
    ring.push(7);
    expect(ring.at(2_005)).toBe(7);
  });

  it("gives its memory back as it empties", () => {
    const ring = new ClockRing();
    for (let id = 0; id < 10_000; id++) ring.push(id);
    const full = ring.byteLength;
    expect(full).toBeGreaterThanOrEqual(40_000);
    for (let id = 0; id < 9_000; id++) ring.shift();
    expect(ring.byteLength).toBeLessThan(full / 5);
    for (let id = 0; id < 1_000; id++) ring.shift();
    expect(ring.byteLength).toBe(0);
  });
});

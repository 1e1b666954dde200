import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeldLimits } from "../../../src/scheduler/credits/held-limits.ts";

const LIFE_MS = 100;

describe("HeldLimits", () => {
  it("has the highest that has not ended", () => {
    const limits = new HeldLimits();
    expect(limits.highest(0)).toBe(0);
    limits.add({ seq: 1, limit: 30, endsMs: 100 });
    limits.add({ seq: 2, limit: 12, endsMs: 120 });
    limits.add({ seq: 3, limit: 18, endsMs: 130 });
    expect(limits.highest(99)).toBe(30);
    expect(limits.highest(100)).toBe(18);
    expect(limits.highest(130)).toBe(0);
  });

  it("forgets those before the grant that its holder goes by, and not that one", () => {
    const limits = new HeldLimits();
    limits.add({ seq: 4, limit: 30, endsMs: 100 });
    limits.add({ seq: 7, limit: 18, endsMs: 120 });
    limits.taken(4);
    expect(limits.highest(0)).toBe(30);
    limits.taken(5);
    expect(limits.highest(0)).toBe(18);
    limits.taken(7);
    limits.taken(4);
    expect(limits.highest(0)).toBe(18);
    // There is none with that number.
    limits.taken(8);
    expect(limits.highest(0)).toBe(18);
  });

  it("is never below what the holder may go by, and just that of few limits", () => {
    const step = fc.record({
      waitMs: fc.nat({ max: 30 }),
      limit: fc.option(fc.nat({ max: 50 }), { nil: undefined }),
      /** Of the grants until then, how many back. */
      back: fc.nat({ max: 8 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const limits = new HeldLimits();
        const all: { seq: number; limit: number; endsMs: number }[] = [];
        let nowMs = 0;
        let takenSeq = 0;
        for (const { waitMs, limit, back } of steps) {
          nowMs += waitMs;
          if (limit === undefined) {
            takenSeq = Math.max(takenSeq, all.length - back);
            limits.taken(all.length - back);
          } else {
            const granted = { seq: all.length + 1, limit, endsMs: nowMs + LIFE_MS };
            all.push(granted);
            limits.add({ ...granted });
          }
          const counted = all.filter(({ seq, endsMs }) => seq >= takenSeq && nowMs < endsMs);
          const highest = Math.max(0, ...counted.map((each) => each.limit));
          expect(limits.highest(nowMs)).toBeGreaterThanOrEqual(highest);
          const most = all.length <= 4 ? highest : Infinity;
          expect(limits.highest(nowMs)).toBeLessThanOrEqual(most);
        }
      }),
    );
  });

  it("keeps four, of which the last stands for all lower ones", () => {
    const limits = new HeldLimits();
    for (let seq = 1; seq <= 50; seq++) limits.add({ seq, limit: 100 - seq, endsMs: 1_000 + seq });
    limits.taken(49);
    expect(limits.highest(0)).toBe(96);
    expect(limits.highest(1_049)).toBe(96);
    limits.add({ seq: 51, limit: 10, endsMs: 1_051 });
    limits.taken(50);
    expect(limits.highest(0)).toBe(96);
    limits.taken(51);
    expect(limits.highest(0)).toBe(10);
    expect(limits.highest(1_051)).toBe(0);
  });
});

import { describe, expect, it } from "vitest";
import { NO_PAIR_SLOT } from "../../../src/scheduler/kv/pair-table.ts";
import { NO_LANE, ResidentLanes } from "../../../src/scheduler/kv/resident-lanes.ts";

describe("ResidentLanes", () => {
  it("gives a lane that had holders to nobody until a sweep that began after it died has ended", () => {
    const lanes = new ResidentLanes(2, 1);
    const [first, second] = [lanes.open(7), lanes.open(8)];
    lanes.close(first, false);
    expect(lanes.beginSweep()).toBe(true);
    lanes.close(second, false);
    // Only the first one's holders have been taken out.
    expect(lanes.endSweep()).toBe(true);
    expect([lanes.open(9), lanes.open(9)]).toEqual([first, NO_LANE]);
    expect(lanes.beginSweep()).toBe(true);
    expect(lanes.endSweep()).toBe(false);
    expect(lanes.open(9)).toBe(second);
    expect(lanes.beginSweep()).toBe(false);
  });

  it("gives an empty one again at once", () => {
    const lanes = new ResidentLanes(1, 1);
    lanes.close(lanes.open(7), true);
    expect(lanes.open(8)).toBe(0);
  });

  it("says whom a lane answers for while it answers, and for whom its holders count while it is open", () => {
    const lanes = new ResidentLanes(40, 3);
    const all = Array.from({ length: 40 }, (_, slot) => lanes.open(slot + 100));
    const lane = all[37]!;
    expect([lanes.end, lanes.words, lanes.slots[lane]]).toEqual([40, 3, 137]);
    expect(lanes.answers(lane)).toBe(false);
    lanes.answer(lane);
    expect(lanes.answers(lane)).toBe(true);
    expect([...lanes.answering]).toEqual([0, 0, 1 << 10]);
    expect([lanes.pairSlotOf(74), lanes.pairSlotOf(75)]).toEqual([137, 137]);
    lanes.close(lane, false);
    expect([lanes.answers(lane), lanes.isOpen(lane)]).toEqual([false, false]);
    expect(lanes.pairSlotOf(74)).toBe(NO_PAIR_SLOT);
  });

  it("refuses to answer for one that is not open", () => {
    const lanes = new ResidentLanes(1, 1);
    expect(() => lanes.answer(0)).toThrow("not open");
  });
});

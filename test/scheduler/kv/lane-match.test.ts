// What lanes match of a path. Beside an oracle: resident-index.test.ts.

import { describe, expect, it } from "vitest";
import { END_UNKNOWN } from "../../../src/scheduler/kv/block-ends.ts";
import { HELD_BELOW, HELD_ON_GPU, NOT_HELD } from "../../../src/scheduler/kv/residency/holding.ts";
import { ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";
import { blocksOf, hold, matchOf, pathOf } from "./resident-blocks.ts";

describe("LaneMatch", () => {
  it("counts a block that is held below in the middle of a match", () => {
    const index = new ResidentIndex();
    const lane = index.openLane(0);
    index.answer(lane);
    for (const each of [1, 2, 3, 4]) hold(index, lane, each, each === 2 ? HELD_BELOW : HELD_ON_GPU);
    const { matched, onGpu } = matchOf(index, [1, 2, 3, 4, 5]);
    expect([matched[0], onGpu[0]]).toEqual([4, 3]);
  });

  it("knows where content ends in tokens, as far as it was told, and forgets it with the block", () => {
    const index = new ResidentIndex({ lanesMax: 4 });
    const lane = index.openLane(0);
    index.answer(lane);
    const labels = Array.from({ length: 6_000 }, (_, n) => n);
    const ends = Uint16Array.from(labels, (each) => each + 10);
    index.hold(lane, { ...blocksOf([0], HELD_ON_GPU), ends });
    hold(index, lane, 1, HELD_ON_GPU);
    index.hold(lane, { ...blocksOf(labels.slice(2), HELD_ON_GPU), ends: ends.subarray(2) });
    const { matched } = matchOf(index, [0, 1, 5_999, 7_000]);
    expect(matched[0]).toBe(3);
    expect([0, 1, 2, 3, 4].map((blocks) => index.endOfMatch(blocks))).toEqual([
      0,
      10,
      END_UNKNOWN,
      6_009,
      END_UNKNOWN,
    ]);
    // Nobody holds it for a moment: what comes in its place is another account's.
    hold(index, lane, 0, NOT_HELD);
    expect(index.endOf(pathOf([0]), 1)).toBe(END_UNKNOWN);
    hold(index, lane, 0, HELD_ON_GPU);
    expect(index.endOf(pathOf([0]), 1)).toBe(END_UNKNOWN);
    expect(index.endOf(pathOf([0, 5_999]), 2)).toBe(6_009);
  });
});

// Matches of endpoints whose hits end with some blocks only.

import { array, assert, boolean, integer, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { ENDS_MARKED, hitEndHigh, hitEndLow } from "../../../src/scheduler/kv/hit-end-keys.ts";
import { mixed } from "../../../src/scheduler/kv/pair-words.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
} from "../../../src/scheduler/kv/residency/holding.ts";
import { ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";

const SLOTS = 4;

/** A path of so many blocks, each its own number. */
const pathOf = (blocks: number, from = 1) =>
  Uint32Array.from({ length: blocks * 2 }, (_, i) => (i % 2 === 0 ? from + i / 2 : 77));

describe("HitEndCut", () => {
  const PATH = pathOf(10);

  /** Endpoints by slot: blocks that each holds, how many of them on GPUs, and where its hits end, if they do so only there. */
  function matchOf(
    endpoints: readonly { held: number; onGpu: number; ends?: readonly number[] }[],
  ): number[][] {
    const index = new ResidentIndex({ lanesMax: 8, bytesMax: 1024 * 1024 });
    for (const [slot, { held, onGpu, ends }] of endpoints.entries()) {
      const lane = index.openLane(slot);
      const hold = (low: number, high: number, holding: Holding) =>
        index.hold(lane, {
          keys: Uint32Array.of(low, high),
          onGpuCount: holding === HELD_ON_GPU ? 1 : 0,
          belowCount: holding === HELD_BELOW ? 1 : 0,
        });
      for (let i = 0; i < held; i++) {
        hold(PATH[i * 2]!, PATH[i * 2 + 1]!, i < onGpu ? HELD_ON_GPU : HELD_BELOW);
      }
      if (ends !== undefined) hold(ENDS_MARKED.low, ENDS_MARKED.high, HELD_ON_GPU);
      for (const end of ends ?? []) {
        const [low, high] = PATH.subarray(end * 2 - 2);
        hold(hitEndLow(low!), hitEndHigh(high!), HELD_ON_GPU);
      }
      index.answer(lane);
    }
    const [matched, onGpu] = [new Int32Array(SLOTS), new Int32Array(SLOTS)];
    index.match(PATH, matched, onGpu);
    index.cutToEnds(PATH, matched, onGpu);
    return endpoints.map((_, slot) => [matched[slot]!, onGpu[slot]!]);
  }

  it("leaves those as they are whose hits end anywhere", () => {
    expect(matchOf([{ held: 10, onGpu: 7 }])).toEqual([[10, 7]]);
  });

  it("goes back to the last block that a hit can end with", () => {
    const ends = [2, 5, 8];
    expect(
      matchOf([
        { held: 6, onGpu: 6, ends },
        { held: 9, onGpu: 4 },
        { held: 8, onGpu: 6, ends },
        { held: 7, onGpu: 7, ends },
      ]),
    ).toEqual([
      [5, 5],
      [9, 4],
      [8, 6],
      [7, 7],
    ]);
    expect(matchOf([{ held: 10, onGpu: 10, ends: [] }])).toEqual([[0, 0]]);
  });

  it("keeps cutting while others are shed for the bytes, at ends that look-ups meet", () => {
    const index = new ResidentIndex({ lanesMax: 8, bytesMax: 1024 * 1024 });
    const [cut, other] = [index.openLane(0), index.openLane(1)];
    for (const lane of [cut, other]) index.answer(lane);
    const [low, high] = PATH.subarray(10);
    index.hold(cut, {
      keys: Uint32Array.of(
        ENDS_MARKED.low,
        ENDS_MARKED.high,
        ...PATH,
        hitEndLow(low!),
        hitEndHigh(high!),
      ),
      onGpuCount: 12,
      belowCount: 0,
    });
    const [matched, onGpu] = [new Int32Array(SLOTS), new Int32Array(SLOTS)];
    const look = () => {
      index.match(PATH, matched, onGpu);
      index.cutToEnds(PATH, matched, onGpu);
      return matched[0];
    };
    for (let n = 1; index.counts.shed < 100_000; n++) {
      const keys = Uint32Array.from({ length: 2_000 }, (_, i) => mixed(n * 2_000 + i));
      index.hold(other, { keys, onGpuCount: 1_000, belowCount: 0 });
      expect(look()).toBe(6);
    }
    expect(index.lacksBlocks(cut)).toBe(false);
  });

  it("is as if each endpoint's blocks were looked at one by one", () => {
    const endpoint = record({
      held: integer({ min: 0, max: 10 }),
      isMarked: boolean(),
      ends: array(integer({ min: 1, max: 10 }), { maxLength: 4 }),
    });
    assert(
      property(array(endpoint, { maxLength: SLOTS }), (endpoints) => {
        const given = endpoints.map(({ held, isMarked, ends }) => ({
          held,
          onGpu: held,
          ...(isMarked ? { ends } : {}),
        }));
        const expected = given.map(({ held, ends }) => {
          // A hit may end within the content behind what is held whole.
          const near = (ends ?? [held]).filter((at) => at <= held + 1);
          const end = Math.min(held, Math.max(0, ...near));
          return [end, end];
        });
        expect(matchOf(given)).toEqual(expected);
      }),
    );
  });
});

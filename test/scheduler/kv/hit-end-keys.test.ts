// Matches of endpoints whose hits end with some blocks only, from token blocks to what a decision is told.

import { array, assert, boolean, integer, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { ENDS_MARKED, hitEndHigh, hitEndLow } from "../../../src/scheduler/kv/hit-end-keys.ts";
import { mixed } from "../../../src/scheduler/kv/pair-words.ts";
import { ContentResidency } from "../../../src/scheduler/kv/residency/content-residency.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../src/scheduler/kv/residency/holding.ts";
import { ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";
import { RecordingSink } from "./residency/holding-sink.ts";

const SLOTS = 4;
/** Who says where hits of slot 1 end. */
const ENDINGS = 3;

/** A path of so many blocks, each its own number. */
const pathOf = (blocks: number, from = 1) =>
  Uint32Array.from({ length: blocks * 2 }, (_, i) => (i % 2 === 0 ? from + i / 2 : 77));

describe("ResidentIndex.cutToEnds", () => {
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

describe("ContentResidency with a slot that says where hits end", () => {
  const keys = (...names: number[]) => Uint32Array.from(names.flatMap((name) => [name, 5]));
  const endKey = (name: number) => `1/${hitEndLow(name)}:${hitEndHigh(5)}`;

  function residency() {
    const sink = new RecordingSink();
    const contents = new ContentResidency(sink, { slotsMax: SLOTS, bytesMax: 1024 * 1024 });
    contents.beginEndings(ENDINGS, 1);
    return { sink, contents };
  }

  const told = (sink: RecordingSink) =>
    [...sink.holdings.keys()].filter((name) => name !== `1/${ENDS_MARKED.low}:${ENDS_MARKED.high}`);

  it("tells that hits end with content of whose token blocks any says so", () => {
    const { sink, contents } = residency();
    contents.learn({
      contentKeys: keys(10, 20),
      tokenKeys: keys(1, 2, 3, 4),
      ends: Uint32Array.of(2, 4),
    });
    for (const token of [1, 2, 3, 4]) contents.held(1, token, 5, HELD_ON_GPU);
    contents.held(ENDINGS, 1, 5, HELD_ON_GPU);
    expect(told(sink)).toEqual(["1/10:5", "1/20:5", endKey(10)]);
    for (const token of [3, 4]) contents.held(ENDINGS, token, 5, HELD_ON_GPU);
    expect(told(sink)).toContain(endKey(20));
    contents.held(ENDINGS, 4, 5, NOT_HELD);
    expect(told(sink)).toContain(endKey(20));
    contents.held(ENDINGS, 3, 5, NOT_HELD);
    contents.held(ENDINGS, 1, 5, NOT_HELD);
    contents.endEndings(ENDINGS);
    expect([...sink.holdings.keys()]).toEqual(["1/10:5", "1/20:5"]);
  });

  it("tells it of content that is learned later, or otherwise than before", () => {
    const { sink, contents } = residency();
    for (const token of [2, 4]) contents.held(ENDINGS, token, 5, HELD_ON_GPU);
    contents.learn({
      contentKeys: keys(10, 20),
      tokenKeys: keys(1, 2, 3, 4),
      ends: Uint32Array.of(2, 4),
    });
    expect(told(sink)).toEqual([endKey(10), endKey(20)]);
    contents.learn({
      contentKeys: keys(10, 20),
      tokenKeys: keys(1, 6, 7, 8),
      ends: Uint32Array.of(2, 4),
    });
    expect(told(sink)).toEqual([]);
  });

  it("agrees with what each content's blocks say, in any order of learning and telling", () => {
    const step = record({
      isLearned: boolean(),
      prompt: integer({ min: 1, max: 4 }),
      /** A template renders history otherwise. */
      variant: integer({ min: 0, max: 1 }),
      at: integer({ min: 1, max: 4 }),
      isEnd: boolean(),
    });
    assert(
      property(array(step, { maxLength: 60 }), (steps) => {
        const { sink, contents } = residency();
        const ends = new Set<number>();
        const spanOf = new Map<number, readonly number[]>();
        for (const { isLearned, prompt, variant, at, isEnd } of steps) {
          const tokens = [1, 2, 3, 4].map((n) => prompt * 10 + variant * 5 + n);
          if (isLearned) {
            const contentKeys = keys(1_000 + prompt, 2_000 + prompt);
            contents.learn({
              contentKeys,
              tokenKeys: keys(...tokens),
              ends: Uint32Array.of(at, 4),
            });
            // What other prompts with the same tokens did not share, this one's content does not end with.
            const last = spanOf.get(1_000 + prompt)?.at(-1) ?? 0;
            const known = tokens.indexOf(last) + 1;
            const end = known === 0 ? at : Math.min(at, known);
            spanOf.set(1_000 + prompt, tokens.slice(0, end));
            spanOf.set(2_000 + prompt, tokens.slice(Math.min(end, 3)));
          } else {
            const token = tokens[at - 1]!;
            contents.held(ENDINGS, token, 5, isEnd ? HELD_ON_GPU : NOT_HELD);
            if (isEnd) ends.add(token);
            else ends.delete(token);
          }
          const expected = [...spanOf]
            .filter(([, span]) => span.some((token) => ends.has(token)))
            .map(([content]) => endKey(content));
          expect(told(sink).toSorted()).toEqual(expected.toSorted());
        }
      }),
      { numRuns: 300 },
    );
  });
});

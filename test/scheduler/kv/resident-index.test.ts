// ResidentIndex against a naive oracle: by lane, a Map from key to holding.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { END_UNKNOWN } from "../../../src/scheduler/kv/block-ends.ts";
import { NO_LANE, ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";
import {
  type HeldBlocks,
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../src/scheduler/kv/residency/holding.ts";

const SLOTS = 1024;
const keyOf = (n: number) => ({
  low: Math.imul(n + 1, 0x9e37_79b1) >>> 0,
  high: Math.imul(n + 7, 0x85eb_ca6b) >>> 0,
});
const pathOf = (labels: readonly number[]) =>
  Uint32Array.from(labels.flatMap((label) => [keyOf(label).low, keyOf(label).high]));

function hold(index: ResidentIndex, lane: number, label: number, holding: Holding): void {
  index.hold(lane, blocksOf([label], holding));
}

/** Blocks that are all held so. */
function blocksOf(labels: readonly number[], holding: Holding): HeldBlocks {
  return {
    keys: pathOf(labels),
    onGpuCount: holding === HELD_ON_GPU ? labels.length : 0,
    belowCount: holding === HELD_BELOW ? labels.length : 0,
  };
}

function matchOf(index: ResidentIndex, labels: readonly number[]) {
  const matched = new Int32Array(SLOTS).fill(-1);
  const onGpu = new Int32Array(SLOTS).fill(-1);
  index.match(pathOf(labels), matched, onGpu);
  return { matched, onGpu };
}

function expected(held: ReadonlyMap<number, Holding>, labels: readonly number[]) {
  let matched = 0;
  let onGpu = 0;
  for (const label of labels) {
    const holding = held.get(label) ?? NOT_HELD;
    if (holding === NOT_HELD) break;
    matched++;
    if (holding === HELD_ON_GPU) onGpu++;
  }
  return [matched, onGpu];
}

const label = fc.nat(11);
const path = fc.array(label, { maxLength: 8 });
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      op: fc.constant("hold" as const),
      slot: fc.nat(40),
      label,
      holding: fc.constantFrom<Holding>(NOT_HELD, HELD_BELOW, HELD_ON_GPU, HELD_ON_GPU),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("renew" as const), slot: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("close" as const), slot: fc.nat(40) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("sweep" as const), entries: fc.nat(6) }) },
);

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** The index beside Maps, one a slot. A slot gets a lane when it is first told of. */
class Both {
  readonly index = new ResidentIndex();
  readonly held = new Map<number, Map<number, Holding>>();
  readonly #lanes = new Map<number, number>();

  apply(given: Step): void {
    if (given.op === "sweep") {
      this.index.sweep(given.entries);
      return;
    }
    const { slot } = given;
    const lane = this.#lanes.get(slot);
    if (given.op === "hold") {
      hold(this.index, lane ?? this.#open(slot), given.label, given.holding);
      this.held.get(slot)!.set(given.label, given.holding);
      return;
    }
    if (lane === undefined) return;
    this.index.closeLane(lane);
    this.#lanes.delete(slot);
    this.held.delete(slot);
    if (given.op === "renew") this.#open(slot);
  }

  #open(slot: number): number {
    const lane = this.index.openLane(slot);
    this.index.answer(lane);
    this.#lanes.set(slot, lane);
    this.held.set(slot, new Map());
    return lane;
  }
}

describe("ResidentIndex", () => {
  it("answers as maps do, whatever was held, moved, dropped and begun anew", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 300, size: "max" }),
        fc.array(path, { maxLength: 6 }),
        (steps, paths) => {
          const both = new Both();
          for (const each of steps) both.apply(each);
          for (const labels of paths) {
            const { matched, onGpu } = matchOf(both.index, labels);
            for (let slot = 0; slot <= 41; slot++) {
              const held = both.held.get(slot) ?? new Map<number, Holding>();
              expect([matched[slot], onGpu[slot]]).toEqual(expected(held, labels));
            }
          }
          while (both.index.sweep(3));
          const pairs = [...both.held.values()].flatMap((held) =>
            [...held.values()].filter((holding) => holding !== NOT_HELD),
          );
          expect(both.index.pairCount).toBe(pairs.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("answers from the old lane until the new one is whole", () => {
    const index = new ResidentIndex();
    const old = index.openLane(7);
    index.answer(old);
    for (const each of [1, 2, 3]) hold(index, old, each, HELD_ON_GPU);
    const next = index.openLane(7);
    hold(index, next, 1, HELD_BELOW);
    expect(matchOf(index, [1, 2, 3]).matched[7]).toBe(3);
    hold(index, next, 2, HELD_ON_GPU);
    index.closeLane(old);
    index.answer(next);
    const { matched, onGpu } = matchOf(index, [1, 2, 3]);
    expect([matched[7], onGpu[7]]).toEqual([2, 1]);
  });

  it("counts a block that is held below in the middle of a match", () => {
    const index = new ResidentIndex();
    const lane = index.openLane(0);
    index.answer(lane);
    for (const each of [1, 2, 3, 4]) hold(index, lane, each, each === 2 ? HELD_BELOW : HELD_ON_GPU);
    const { matched, onGpu } = matchOf(index, [1, 2, 3, 4, 5]);
    expect([matched[0], onGpu[0]]).toEqual([4, 3]);
  });

  it("gives out every lane, and a dead one again when it is swept", () => {
    const index = new ResidentIndex({ lanesMax: 2 });
    const [first, second] = [index.openLane(0), index.openLane(1)];
    hold(index, first, 1, HELD_ON_GPU);
    index.closeLane(first);
    expect(index.openLane(0)).toBe(NO_LANE);
    expect(index.sweep(100)).toBe(false);
    expect(index.openLane(0)).toBe(first);
    // An empty one needs no sweep.
    index.closeLane(second);
    expect(index.openLane(0)).toBe(second);
    expect(index.pairCount).toBe(0);
  });

  it("sheds what no look-up has met, within its bytes, and says who lacks it", () => {
    const bytesMax = 3 * 1024 * 1024;
    const index = new ResidentIndex({ lanesMax: 4, bytesMax });
    const [hot, cold] = [index.openLane(0), index.openLane(1)];
    index.answer(hot);
    index.answer(cold);
    const shared = [1, 2, 3, 4, 5];
    for (const each of shared) hold(index, hot, each, HELD_ON_GPU);
    for (let n = 10; n < 150_000; n++) {
      if (n % 1_000 === 0) matchOf(index, shared);
      hold(index, cold, n, HELD_ON_GPU);
    }
    expect(index.byteLength).toBeLessThanOrEqual(bytesMax);
    expect(index.counts.shed).toBeGreaterThan(10_000);
    expect(index.counts.shed).toBe(149_990 + 5 - index.pairCount);
    expect(matchOf(index, shared).matched[0]).toBe(5);
    expect([index.lacksBlocks(hot), index.lacksBlocks(cold)]).toEqual([false, true]);
  });

  it("takes blocks together as it takes them one by one, also those said twice and while it sheds", () => {
    const batch = fc.record({
      lane: fc.integer({ min: 0, max: 1 }),
      labels: fc.array(fc.integer({ min: 0, max: 90 }), { maxLength: 200, size: "max" }),
      onGpu: fc.integer({ min: 0, max: 200 }),
      below: fc.integer({ min: 0, max: 60 }),
    });
    const small = { lanesMax: 2, bytesMax: 1_600 };
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 6 }), (batches) => {
        const [together, single] = [new ResidentIndex(small), new ResidentIndex(small)];
        for (const each of [together, single])
          for (const slot of [0, 1]) each.answer(each.openLane(slot));
        for (const { lane, labels, ...counts } of batches) {
          const onGpuCount = Math.min(counts.onGpu, labels.length);
          const belowCount = Math.min(counts.below, labels.length - onGpuCount);
          together.hold(lane, { keys: pathOf(labels), onGpuCount, belowCount });
          labels.forEach((label, i) => {
            const held = i < onGpuCount + belowCount ? HELD_BELOW : NOT_HELD;
            hold(single, lane, label, i < onGpuCount ? HELD_ON_GPU : held);
          });
        }
        expect(together.counts).toEqual(single.counts);
        expect([together.blockCount, together.pairCount]).toEqual([
          single.blockCount,
          single.pairCount,
        ]);
        for (let label = 0; label <= 90; label++) {
          expect(matchOf(together, [label])).toEqual(matchOf(single, [label]));
        }
      }),
      { numRuns: 40, endOnFailure: true },
    );
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

  it("leaves holders out where the sets have no bytes left, and says so", () => {
    const index = new ResidentIndex({ lanesMax: 8, bytesMax: 400_000 });
    const lanes = Array.from({ length: 3 }, () => index.openLane(0));
    for (const lane of lanes) for (let n = 0; n < 8_000; n++) hold(index, lane, n, HELD_ON_GPU);
    expect(index.counts.leftOut).toBeGreaterThan(0);
    expect(lanes.map((lane) => index.lacksBlocks(lane))).toEqual([false, false, true]);
  });
});

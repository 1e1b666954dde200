// ResidentIndex against a naive oracle: by lane, a Map from key to holding.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { END_OF_HIT } from "../../../src/scheduler/kv/block-ends.ts";
import { ENDS_MARKED } from "../../../src/scheduler/kv/hit-end-keys.ts";
import { mixed } from "../../../src/scheduler/kv/pair-words.ts";
import { RESIDENT_INDEX_LIMITS, ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";
import { NO_LANE } from "../../../src/scheduler/kv/resident-lanes.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../src/scheduler/kv/residency/holding.ts";
import { blocksOf, hold, matchOf, pathOf } from "./resident-blocks.ts";

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

  it("leaves holders out where the sets have no bytes left, and says so", () => {
    const index = new ResidentIndex({ lanesMax: 8, bytesMax: 400_000 });
    const lanes = Array.from({ length: 3 }, () => index.openLane(0));
    for (const lane of lanes) for (let n = 0; n < 12_000; n++) hold(index, lane, n, HELD_ON_GPU);
    expect(index.counts).toMatchObject({ shed: 0 });
    expect(index.counts.leftOut).toBeGreaterThan(0);
    expect(index.byteLength).toBeLessThanOrEqual(400_000);
    expect(lanes.map((lane) => index.lacksBlocks(lane))).toEqual([false, false, true]);
  });

  /** Blocks that so many lanes hold each, up to so many pairs, and as far as nothing is shed or left out. */
  function fillUp(holders: number, bytesMax?: number, pairsMax = Infinity): ResidentIndex {
    const index = new ResidentIndex(bytesMax === undefined ? {} : { bytesMax });
    const lanes = Array.from({ length: holders }, (_, slot) => index.openLane(slot));
    for (let first = 0; index.counts.shed + index.counts.leftOut === 0; first += 4_096) {
      if (index.pairCount >= pairsMax) break;
      const labels = Uint32Array.from({ length: 8_192 }, (_, i) =>
        mixed(first * 2 + i + (i % 2) * 0x4000_0000),
      );
      for (const lane of lanes) {
        index.hold(lane, { keys: labels, onGpuCount: 4_096, belowCount: 0, ends });
      }
    }
    return index;
  }
  const ends = new Uint16Array(4_096).fill(3);

  it("has room for two million blocks with one holder each, within its bytes", () => {
    const index = fillUp(1, undefined, 2_000_000);
    expect(index.counts).toEqual({ shed: 0, leftOut: 0 });
    expect(index.byteLength).toBeLessThanOrEqual(RESIDENT_INDEX_LIMITS.bytesMax);
  }, 60_000);

  it("lets entries and sets have what the other has not taken, but for a share of each", () => {
    const bytesMax = 8 * 1024 * 1024;
    // Planes of everybody: 640 bytes a block.
    const shared = fillUp(40, bytesMax);
    expect(shared.blockCount * 640).toBeGreaterThan(bytesMax * 0.4);
    expect(shared.counts.shed).toBe(0);
    const lane = shared.openLane(100);
    for (let n = 0; n < 100_000; n++) hold(shared, lane, n, HELD_ON_GPU);
    expect(shared.counts.shed).toBe(0);
    const single = fillUp(1, bytesMax);
    expect(single.blockCount).toBeGreaterThan(300_000);
    // Blocks of the many still find room in the sets' own share.
    const before = single.counts.leftOut;
    const held = Array.from({ length: 1_000 }, (_, n) => n);
    for (let slot = 1; slot <= 8; slot++) {
      single.hold(single.openLane(slot), blocksOf(held, HELD_ON_GPU));
    }
    expect(single.counts.leftOut).toBe(before);
    for (const index of [shared, single]) {
      expect(index.byteLength).toBeLessThanOrEqual(bytesMax);
    }
  });

  it("counts what says where hits end as no block, whenever that is told", () => {
    const index = new ResidentIndex({ lanesMax: 4 });
    const [one, two] = [index.openLane(0), index.openLane(1)];
    const marks = Uint32Array.of(ENDS_MARKED.low, ENDS_MARKED.high);
    const hitEnds = (...labels: number[]) => ({
      ...blocksOf(labels, HELD_ON_GPU),
      ends: new Uint16Array(labels.length).fill(END_OF_HIT),
    });
    index.hold(one, { keys: marks, onGpuCount: 1, belowCount: 0 });
    index.hold(one, blocksOf([1, 2, 3], HELD_ON_GPU));
    index.hold(one, hitEnds(12, 13));
    expect(index.heldBlocks(one)).toBe(3);
    // Told without an end before, by a collector that knows none.
    index.hold(two, blocksOf([1, 11], HELD_ON_GPU));
    expect(index.heldBlocks(two)).toBe(2);
    index.hold(one, hitEnds(11));
    expect([index.heldBlocks(one), index.heldBlocks(two)]).toEqual([3, 1]);
    index.hold(one, blocksOf([12, 1], NOT_HELD));
    expect(index.heldBlocks(one)).toBe(2);
    index.hold(two, blocksOf([1, 11], NOT_HELD));
    expect(index.heldBlocks(two)).toBe(0);
    index.closeLane(one);
    while (index.sweep(10));
    expect([index.heldBlocks(one), index.pairCount]).toEqual([0, 0]);
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HolderSets } from "../../../src/scheduler/kv/holder-sets.ts";

const SLOTS_MAX = 1024;

function members(sets: HolderSets, set: number): number[] {
  const plane = new Uint32Array(sets.planeWords);
  sets.toPlane(set, plane, sets.planeWords);
  return Array.from({ length: SLOTS_MAX }, (_, slot) => slot).filter(
    (slot) => ((plane[slot >>> 5]! >>> (slot & 31)) & 1) === 1,
  );
}

describe("HolderSets", () => {
  it("is a set with a reference bit a member, whatever its representation", () => {
    const slot = fc.oneof(fc.constantFrom(0, 31, 32, 1023), fc.nat(14));
    const step = fc.record({ slot, op: fc.constantFrom("toggle", "toggle", "reference", "clear") });
    // A start of many members, so that steps also happen in long lists and in bit planes.
    const start = fc.nat(40);
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 120 }), (memberCount, steps) => {
        const sets = new HolderSets(SLOTS_MAX, Infinity);
        const oracle = new Map<number, boolean>();
        let set = 0;
        for (let at = 0; at < memberCount; at++) {
          set = sets.add(set, at);
          oracle.set(at, false);
        }
        for (const { slot: at, op } of steps) {
          expect(sets.has(set, at)).toBe(oracle.has(at));
          if (op === "toggle" && oracle.delete(at)) set = sets.remove(set, at);
          else if (op === "toggle") {
            set = sets.add(set, at);
            oracle.set(at, false);
          } else if (oracle.has(at)) {
            set = op === "reference" ? sets.reference(set, at) : sets.unreference(set, at);
            oracle.set(at, op === "reference");
          }
          for (const [member, isReferenced] of oracle) {
            expect(sets.isReferenced(set, member)).toBe(isReferenced);
          }
        }
        expect(members(sets, set)).toEqual([...oracle.keys()].toSorted((a, b) => a - b));
        expect(set === 0).toBe(oracle.size === 0);
      }),
    );
  });

  it("needs no memory but the word for up to two holders", () => {
    const sets = new HolderSets(SLOTS_MAX, Infinity);
    sets.add(sets.add(0, 1023), 0);
    expect(sets.byteLength).toBe(0);
  });

  it("gives the pieces of a set that shrank to the next one", () => {
    const sets = new HolderSets(SLOTS_MAX, Infinity);
    const fill = () => {
      let set = 0;
      for (let slot = 0; slot < 100; slot++) set = sets.add(set, slot);
      return set;
    };
    let set = fill();
    const bytes = sets.byteLength;
    for (let round = 0; round < 3_000; round++) {
      for (let slot = 0; slot < 100; slot++) set = sets.remove(set, slot);
      expect(set).toBe(0);
      set = fill();
    }
    expect(sets.byteLength).toBe(bytes);
  });

  it("says when another holder would pass its bytes", () => {
    const none = new HolderSets(SLOTS_MAX, 0);
    const pair = none.add(none.add(0, 1), 2);
    expect([none.canAdd(0), none.canAdd(none.add(0, 1)), none.canAdd(pair)]).toEqual([
      true,
      true,
      false,
    ]);
    // Room for one slab of small sets, none for large ones.
    const some = new HolderSets(SLOTS_MAX, 16 * 1024);
    let set = 0;
    for (let slot = 0; slot < 8; slot++) {
      expect(some.canAdd(set)).toBe(true);
      set = some.add(set, slot);
    }
    expect(some.canAdd(set)).toBe(false);
    expect(some.byteLength).toBe(16 * 1024);
  });

  it("shrinks through every form, keeping reference bits", () => {
    const sets = new HolderSets(SLOTS_MAX, Infinity);
    let set = 0;
    for (let slot = 0; slot < 100; slot++) set = sets.add(set, slot * 10);
    for (let slot = 0; slot < 100; slot += 2) set = sets.reference(set, slot * 10);
    for (let slot = 99; slot > 0; slot--) {
      set = sets.remove(set, slot * 10);
      expect(members(sets, set)).toHaveLength(slot);
      for (let left = 0; left < slot; left++) {
        expect(sets.isReferenced(set, left * 10)).toBe(left % 2 === 0);
      }
    }
    expect(set).toBe(1 | 0x1000);
  });

  it("keeps its bytes when shrinking would need another slab", () => {
    // Room for one slab of short lists and one of long ones.
    const bytesMax = 80 * 1024;
    const sets = new HolderSets(SLOTS_MAX, bytesMax);
    const wide: number[] = [];
    for (let i = 0; i < 1_000; i++) {
      let set = 0;
      for (let slot = 0; slot < 12; slot++) set = sets.add(set, slot);
      wide.push(set);
    }
    for (let i = 0; i < 1_024; i++) {
      let set = 0;
      for (let slot = 0; slot < 3; slot++) set = sets.add(set, slot);
    }
    for (const start of wide) {
      let set = start;
      for (let slot = 0; slot < 12; slot++) {
        set = sets.remove(set, slot);
        expect(members(sets, set)).toHaveLength(11 - slot);
      }
      expect(set).toBe(0);
    }
    expect(sets.byteLength).toBeLessThanOrEqual(bytesMax);
  });
});

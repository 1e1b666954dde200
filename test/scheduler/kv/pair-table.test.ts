// Indexes as tables of pairs, beside what they say of each endpoint.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KeyTable } from "../../../src/scheduler/kv/block-table.ts";
import { pairHigh } from "../../../src/scheduler/kv/pair-words.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../src/scheduler/kv/residency/holding.ts";

const low = (label: number) => Math.imul(label + 1, 0x9e37_79b1) >>> 0;
const high = (label: number) => Math.imul(label + 1, 0x85eb_ca6b) >>> 0;
const blockOf = (label: number, holding: Holding) => ({
  keys: Uint32Array.of(low(label), high(label)),
  onGpuCount: holding === HELD_ON_GPU ? 1 : 0,
  belowCount: holding === HELD_BELOW ? 1 : 0,
});
const nameOf = (label: number, slot: number) => `${low(label)}/${pairHigh(high(label), slot)}`;

function readAll(table: KeyTable, pieceWords = 8_192): string[] {
  const buffer = new Uint32Array(pieceWords);
  const read: string[] = [];
  for (let position: number | undefined = 0; position !== undefined;) {
    const { keys, next }: { keys: Uint32Array; next: number | undefined } = table.readKeys(
      position,
      buffer,
    );
    for (let at = 0; at < keys.length; at += 2) read.push(`${keys[at]}/${keys[at + 1]}`);
    position = next;
  }
  return read.sort();
}

const step = fc.record({
  op: fc.constantFrom("hold", "hold", "drop", "remove"),
  label: fc.nat(40),
  slot: fc.nat(70),
});

describe("PairTable", () => {
  it("has the pairs of a prefix tree, and tells each that comes", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
        const tree = new PrefixTree({ slotsMax: 96 });
        const held = new Set<string>();
        const told = new Set<string>();
        tree.pairs.onAdded = (a, b) => void told.add(`${a}/${b}`);
        const labelsOf = new Map<number, Set<number>>();
        for (const { op, label, slot } of steps) {
          const key = Uint32Array.of(low(label), high(label));
          if (op === "hold") {
            tree.insert(key, slot);
            held.add(nameOf(label, slot));
            labelsOf.set(slot, (labelsOf.get(slot) ?? new Set()).add(label));
          } else if (op === "drop") {
            tree.removeHolder(key, slot);
            held.delete(nameOf(label, slot));
          } else {
            tree.removeEndpoint(slot);
            for (const each of labelsOf.get(slot) ?? []) held.delete(nameOf(each, slot));
          }
        }
        expect(readAll(tree.pairs)).toEqual([...held].sort());
        expect(tree.pairs.size).toBe(held.size);
        for (const each of held) expect(told).toContain(each);
      }),
      { numRuns: 100 },
    );
  });

  it("has the pairs of a resident index, by slots and not by lanes, of those that are built too", () => {
    const index = new ResidentIndex({ lanesMax: 8 });
    const told: string[] = [];
    index.pairs.onAdded = (a, b) => void told.push(`${a}/${b}`);
    const [old, building] = [index.openLane(5), index.openLane(5)];
    const other = index.openLane(2);
    index.answer(old);
    index.hold(old, blockOf(1, HELD_ON_GPU));
    index.hold(old, blockOf(2, HELD_BELOW));
    index.hold(building, blockOf(3, HELD_ON_GPU));
    index.hold(other, blockOf(1, HELD_ON_GPU));
    const all = [nameOf(1, 5), nameOf(2, 5), nameOf(3, 5), nameOf(1, 2)].sort();
    expect(readAll(index.pairs)).toEqual(all);
    expect(told.toSorted()).toEqual(all);
    index.hold(other, blockOf(1, NOT_HELD));
    index.closeLane(old);
    // What only a dead lane holds does not count, before it is swept and after.
    expect(readAll(index.pairs)).toEqual([nameOf(3, 5)]);
    while (index.sweep(100));
    expect(readAll(index.pairs)).toEqual([nameOf(3, 5)]);
    expect(index.pairs.size).toBe(1);
  });

  it("is read in pieces that have room for an entry that everybody holds", () => {
    const tree = new PrefixTree({ slotsMax: 64 });
    for (let label = 0; label < 5; label++)
      for (let slot = 0; slot < 64; slot++)
        tree.insert(Uint32Array.of(low(label), high(label)), slot);
    expect(readAll(tree.pairs, 128)).toHaveLength(5 * 64);
    expect(new Set(readAll(tree.pairs, 300)).size).toBe(5 * 64);
  });
});

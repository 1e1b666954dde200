import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BlockTable, NONE } from "../../../src/scheduler/kv/block-table.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

/** Room for far more than any test adds. */
const BYTES_MAX = 32 * 1024 * 1024;

describe("BlockTable", () => {
  it("answers as a Map does, also where keys crowd one run of places", () => {
    // Low words near the end of a segment make runs that wrap; few high words, keys that share it.
    const key = fc.record({ low: fc.integer({ min: 1_015, max: 1_030 }), high: fc.nat(5) });
    const step = fc.record({ key, isAdd: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new BlockTable(BYTES_MAX);
        const oracle = new Map<string, number>();
        let payload = 0;
        for (const { key: at, isAdd } of steps) {
          const name = `${at.low}:${at.high}`;
          const id = table.find(at.low, at.high);
          expect(id === NONE).toBe(!oracle.has(name));
          if (id === NONE && isAdd) {
            table.setPayload(table.add(at.low, at.high), ++payload);
            oracle.set(name, payload);
          } else if (id !== NONE && !isAdd) {
            table.remove(id);
            oracle.delete(name);
          }
        }
        expect(table.size).toBe(oracle.size);
        for (const [name, value] of oracle) {
          const [low, high] = name.split(":").map(Number);
          expect(table.payload(table.find(low!, high!))).toBe(value);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("reads in pieces every key that stays, and tells each that is added meanwhile", () => {
    const step = fc.record({ key: fc.integer({ min: 1, max: 40 }), isAdd: fc.boolean() });
    const part = fc.array(step, { maxLength: 60 });
    fc.assert(
      fc.property(
        part,
        fc.array(part, { maxLength: 10 }),
        fc.integer({ min: 1, max: 9 }),
        (before, turns, piece) => {
          const table = new BlockTable(BYTES_MAX);
          const oracle = new Set<number>();
          const change = (steps: typeof before) => {
            for (const { key, isAdd } of steps) {
              const id = table.find(key, 7);
              if (isAdd && id === NONE) {
                table.setPayload(table.add(key, 7), 1);
                oracle.add(key);
              } else if (!isAdd && id !== NONE) {
                table.remove(id);
                oracle.delete(key);
              }
            }
          };
          change(before);
          const seen: number[] = [];
          const told = new Set<number>();
          table.onAdded = (low) => told.add(low);
          const buffer = new Uint32Array(piece * 2);
          let position: number | undefined = 0;
          for (let turn = 0; position !== undefined; turn++) {
            const read = table.readKeys(position, buffer);
            for (let at = 0; at < read.keys.length; at += 2) seen.push(read.keys[at]!);
            position = read.next;
            change(turns[turn] ?? []);
          }
          const known = new Set([...seen, ...told]);
          for (const key of oracle) expect(known.has(key)).toBe(true);
          // Twice only what was removed and added again.
          const twice = seen.filter((key, i) => seen.indexOf(key) !== i);
          expect(twice.filter((key) => !told.has(key))).toEqual([]);
          expect(table.addedCount - table.removedCount).toBe(table.size);
        },
      ),
    );
  });

  it("keeps an entry's id for life, through every split", () => {
    const table = new BlockTable(BYTES_MAX);
    const rng = createRng(1);
    const keys = Array.from({ length: 60_000 }, () => [rng() * 2 ** 32, rng() * 2 ** 32] as const);
    const ids = keys.map(([low, high]) => table.add(low >>> 0, high >>> 0));
    for (const [i, [low, high]] of keys.entries()) {
      expect(table.find(low >>> 0, high >>> 0)).toBe(ids[i]);
    }
    expect(table.size).toBe(60_000);
  });

  it("grows by small steps", () => {
    const table = new BlockTable(BYTES_MAX);
    const rng = createRng(2);
    let largest = 0;
    for (let i = 0; i < 200_000; i++) {
      const before = table.byteLength;
      table.add((rng() * 2 ** 32) >>> 0, (rng() * 2 ** 32) >>> 0);
      largest = Math.max(largest, table.byteLength - before);
    }
    // A page of segments is 64 KiB, a chunk of entries 48; the whole table at this size is over 3 MB.
    expect(largest).toBeLessThan(128 * 1024);
    expect(table.byteLength).toBeLessThan(200_000 * 23);
  });

  it("gives the memory of removed entries to new ones", () => {
    const table = new BlockTable(BYTES_MAX);
    const rng = createRng(3);
    const ids: number[] = [];
    for (let i = 0; i < 30_000; i++)
      ids.push(table.add((rng() * 2 ** 32) >>> 0, (rng() * 2 ** 32) >>> 0));
    const bytes = table.byteLength;
    for (let round = 0; round < 5; round++) {
      for (const id of ids.splice(0, 20_000)) table.remove(id);
      while (ids.length < 30_000) {
        ids.push(table.add((rng() * 2 ** 32) >>> 0, (rng() * 2 ** 32) >>> 0));
      }
    }
    expect(table.byteLength).toBeLessThan(bytes * 1.2);
  });

  it("refuses keys that share so many bits that no split parts them", () => {
    const table = new BlockTable(BYTES_MAX);
    let taken = 0;
    while (taken < 2_000 && table.add(taken, 0xffff_ffff) !== NONE) taken++;
    // What one segment takes when it may not split any more.
    expect(taken).toBe(960);
    expect(table.find(0, 0xffff_ffff)).not.toBe(NONE);
    expect(table.add(1, 1)).not.toBe(NONE);
  });

  it("stays within its bytes whatever the keys, and takes all that are spread out", () => {
    const bytesMax = 4 * 1024 * 1024;
    const fill = (table: BlockTable) => {
      const rng = createRng(4);
      let refused = 0;
      while (table.size < table.entriesMax && refused < 1_000) {
        if (table.add((rng() * 2 ** 32) >>> 0, (rng() * 2 ** 32) >>> 0) === NONE) refused++;
      }
      expect(table.byteLength).toBeLessThanOrEqual(bytesMax);
      return refused;
    };
    expect(fill(new BlockTable(bytesMax))).toBe(0);

    const hostile = new BlockTable(bytesMax);
    // Keys of a group share all leading bits and force splits all the way down. Each group is
    // evicted before the next one comes, which leaves its segments behind.
    for (let group = 0; group < 1_000; group++) {
      const high = Math.imul(group, 0x9e37_9000) >>> 0;
      const ids = Array.from({ length: 830 }, (_, low) => hostile.add(low, high));
      for (const id of ids.toReversed()) if (id !== NONE) hostile.remove(id);
    }
    fill(hostile);
  });
});

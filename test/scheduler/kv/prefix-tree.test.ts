// PrefixTree against a naive oracle: a Map from key to the set of its holders.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

/** Keys of the path with these block labels: equal prefixes give equal keys. */
function pathKeys(labels: readonly number[]): Uint32Array {
  const keys = new Uint32Array(labels.length * 2);
  let low = 0x1234_5678;
  let high = 0x9abc_def0;
  labels.forEach((label, i) => {
    low = Math.imul(low ^ label, 0x85eb_ca6b) ^ (low >>> 15);
    low = Math.imul(low, 0xc2b2_ae35) ^ (low >>> 13);
    high = Math.imul(high ^ low ^ label, 0x27d4_eb2f) ^ (high >>> 15);
    high = Math.imul(high, 0x1656_67b1) ^ (high >>> 13);
    keys[i * 2] = low;
    keys[i * 2 + 1] = high;
  });
  return keys;
}

class Oracle {
  readonly holders = new Map<string, Set<number>>();

  #key(keys: Uint32Array, i: number): string {
    return `${keys[i * 2]}:${keys[i * 2 + 1]}`;
  }

  insert(keys: Uint32Array, slot: number): void {
    for (let i = 0; i < keys.length / 2; i++) {
      const key = this.#key(keys, i);
      this.holders.set(key, (this.holders.get(key) ?? new Set()).add(slot));
    }
  }

  remove(keys: Uint32Array, slot: number): void {
    for (let i = 0; i < keys.length / 2; i++) this.#drop(this.#key(keys, i), slot);
  }

  removeEndpoint(slot: number): void {
    for (const key of this.holders.keys()) this.#drop(key, slot);
  }

  match(keys: Uint32Array, slot: number): number {
    let i = 0;
    while (i < keys.length / 2 && this.holders.get(this.#key(keys, i))?.has(slot)) i++;
    return i;
  }

  held(slot: number): number {
    return [...this.holders.values()].filter((set) => set.has(slot)).length;
  }

  #drop(key: string, slot: number): void {
    const set = this.holders.get(key);
    set?.delete(slot);
    if (set?.size === 0) this.holders.delete(key);
  }
}

const SLOTS = [0, 1, 2, 31, 32, 63, 500, 1023];
const path = fc.array(fc.nat(3), { minLength: 0, maxLength: 8 });
// Few labels and many slots, so that sets pass through every representation and back.
const slot = fc.oneof(fc.constantFrom(...SLOTS), fc.nat(24));
const step = fc.oneof(
  fc.record({ op: fc.constant("insert" as const), path, slot }),
  fc.record({ op: fc.constant("remove" as const), path, slot }),
  fc.record({ op: fc.constant("removeEndpoint" as const), path, slot }),
);

describe("PrefixTree", () => {
  it("answers as a map of sets does, whatever was inserted and removed", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.array(path, { maxLength: 5 }),
        (steps, probes) => {
          const tree = new PrefixTree();
          const oracle = new Oracle();
          for (const { op, path: labels, slot: at } of steps) {
            const keys = pathKeys(labels);
            if (op === "insert") {
              tree.insert(keys, at);
              oracle.insert(keys, at);
            } else if (op === "remove") {
              tree.removeHolder(keys, at);
              oracle.remove(keys, at);
            } else {
              tree.removeEndpoint(at);
              oracle.removeEndpoint(at);
            }
          }
          expect(tree.blockCount).toBe(oracle.holders.size);
          const out = new Int32Array(1024);
          for (const labels of [...probes, ...steps.map((s) => s.path)]) {
            const keys = pathKeys(labels);
            tree.match(keys, out);
            for (const at of [...SLOTS, 3, 7, 24]) expect(out[at]).toBe(oracle.match(keys, at));
          }
          for (const at of SLOTS) expect(tree.heldBlocks(at)).toBe(oracle.held(at));
        },
      ),
      { numRuns: 200 },
    );
  });

  it("yields every endpoint's longest match in one walk", () => {
    const tree = new PrefixTree();
    const keys = pathKeys([1, 2, 3, 4]);
    tree.insert(keys, 5);
    tree.insert(pathKeys([1, 2]), 700);
    tree.insert(pathKeys([1, 9]), 6);
    const out = new Int32Array(1024);
    tree.match(keys, out);
    expect([out[5], out[700], out[6], out[0]]).toEqual([4, 2, 1, 0]);
  });

  it("does not count a block behind a gap", () => {
    const tree = new PrefixTree();
    const keys = pathKeys([1, 2, 3]);
    tree.insert(keys, 0);
    tree.insert(keys, 1);
    tree.removeHolder(keys.subarray(2, 4), 0);
    const out = new Int32Array(1024);
    tree.match(keys, out);
    expect([out[0], out[1]]).toEqual([1, 3]);
  });

  it("holds a block for every one of 1,024 endpoints, and shrinks again", () => {
    const tree = new PrefixTree();
    const keys = pathKeys([1]);
    for (let at = 0; at < 1024; at++) tree.insert(keys, at);
    const out = new Int32Array(1024);
    tree.match(keys, out);
    expect(out.every((matched) => matched === 1)).toBe(true);
    for (let at = 0; at < 1023; at++) tree.removeEndpoint(at);
    tree.match(keys, out);
    expect([out[1022], out[1023], tree.blockCount]).toEqual([0, 1, 1]);
    tree.removeEndpoint(1023);
    expect(tree.blockCount).toBe(0);
  });

  it("keeps every block through growth over many segments", () => {
    const tree = new PrefixTree();
    const rng = createRng(7);
    const paths = Array.from({ length: 4_000 }, () =>
      pathKeys(Array.from({ length: 30 }, () => Math.floor(rng() * 1e9))),
    );
    paths.forEach((keys, i) => tree.insert(keys, i % 50));
    expect(tree.blockCount).toBe(120_000);
    const out = new Int32Array(64);
    for (const [i, keys] of paths.entries()) {
      tree.match(keys, out);
      expect(out[i % 50]).toBe(30);
    }
  });

  it("evicts least recent first, and the tail of a path before its root", () => {
    const tree = new PrefixTree();
    const old = pathKeys([1, 2, 3]);
    const recent = pathKeys([4, 5, 6]);
    tree.insert(old, 0);
    tree.insert(recent, 0);
    tree.setCapacity(0, 4);
    const out = new Int32Array(1);
    tree.match(old, out);
    expect(out[0]).toBe(1);
    tree.match(recent, out);
    expect(out[0]).toBe(3);
    expect(tree.evicted).toEqual({ capacity: 2, bytes: 0 });
  });

  it("spares what was used again", () => {
    const tree = new PrefixTree();
    const hot = pathKeys([1]);
    tree.insert(hot, 0);
    tree.insert(pathKeys([2]), 0);
    tree.insert(hot, 0);
    tree.insert(pathKeys([3]), 0);
    tree.setCapacity(0, 2);
    const out = new Int32Array(1);
    tree.match(hot, out);
    expect(out[0]).toBe(1);
    tree.match(pathKeys([2]), out);
    expect(out[0]).toBe(0);
  });

  it("never holds more than an endpoint's capacity, and keeps a long path's beginning", () => {
    const tree = new PrefixTree();
    tree.setCapacity(3, 10);
    const keys = pathKeys(Array.from({ length: 100 }, (_, i) => i));
    tree.insert(keys, 3);
    expect(tree.heldBlocks(3)).toBe(10);
    const out = new Int32Array(4);
    tree.match(keys, out);
    expect(out[3]).toBe(10);
  });

  it("gives a reused slot no memory of its predecessor", () => {
    const tree = new PrefixTree();
    const keys = pathKeys([1, 2]);
    tree.setCapacity(0, 1);
    tree.insert(keys, 0);
    tree.removeEndpoint(0);
    tree.insert(keys, 0);
    expect(tree.heldBlocks(0)).toBe(2);
  });

  it("stays within its bytes and keeps the most recent paths", () => {
    const bytesMax = 2 * 1024 * 1024;
    const tree = new PrefixTree({ bytesMax, slotsMax: 64 });
    const rng = createRng(3);
    let last: Uint32Array = new Uint32Array();
    for (let i = 0; i < 6_000; i++) {
      last = pathKeys(Array.from({ length: 40 }, () => Math.floor(rng() * 1e9)));
      tree.insert(last, i % 64);
      // Shared blocks too, so that holder sets compete for the bytes.
      tree.insert(pathKeys([i % 400, 1, 2, 3]), (i * 7) % 64);
    }
    expect(tree.byteLength).toBeLessThanOrEqual(bytesMax);
    expect(tree.evicted.bytes).toBeGreaterThan(100_000);
    const out = new Int32Array(64);
    tree.match(last, out);
    expect(out[5_999 % 64]).toBe(40);
  });

  it("leaves a holder out where holder sets would pass the bound", () => {
    const tree = new PrefixTree({ bytesMax: 512 * 1024, slotsMax: 1024 });
    for (let block = 0; block < 400; block++) {
      for (let at = 0; at < 40; at++) tree.insert(pathKeys([block]), at);
    }
    expect(tree.leftOut).toBeGreaterThan(0);
    expect(tree.byteLength).toBeLessThanOrEqual(512 * 1024);
  });

  it("bounds its rings when blocks are removed and inserted again for ever", () => {
    const tree = new PrefixTree();
    const keys = pathKeys([1, 2, 3, 4, 5]);
    tree.insert(keys, 0);
    const before = tree.byteLength;
    for (let i = 0; i < 5_000; i++) {
      tree.removeHolder(keys, 0);
      tree.insert(keys, 0);
    }
    expect(tree.byteLength - before).toBeLessThan(16 * 1024);
  });
});

describe("reading what an endpoint holds", () => {
  const BUFFER_WORDS = 2 * 7;

  function* pieces(tree: PrefixTree, slot: number): Generator<Uint32Array> {
    const buffer = new Uint32Array(BUFFER_WORDS);
    for (let position: number | undefined = 0; position !== undefined;) {
      const piece = tree.readHeld(slot, position, buffer);
      position = piece.next;
      yield piece.keys.slice();
    }
  }

  function blockNames(keys: Uint32Array): string[] {
    return Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`);
  }

  it("gives it all, and nothing of others", () => {
    const tree = new PrefixTree({ slotsMax: 8 });
    for (let i = 0; i < 30; i++) tree.insert(pathKeys([i, 1, 2, 3, 4]), i % 3);
    const read = new Set([...pieces(tree, 1)].flatMap(blockNames));
    expect(read.size).toBe(tree.heldBlocks(1));
    expect(read).toEqual(
      new Set(
        Array.from({ length: 10 }, (_, i) => pathKeys([i * 3 + 1, 1, 2, 3, 4])).flatMap(blockNames),
      ),
    );
    expect([...pieces(tree, 7)].flatMap(blockNames)).toEqual([]);
    expect(tree.heldCount).toBe(150);
  });

  it("restores the order of eviction", () => {
    const tree = new PrefixTree({ slotsMax: 2 });
    const again = new PrefixTree({ slotsMax: 2 });
    for (let i = 0; i < 20; i++) tree.insert(pathKeys([i, 1, 2, 3]), 0);
    for (const keys of pieces(tree, 0)) again.insert(keys, 0);
    for (let capacity = 79; capacity >= 0; capacity--) {
      tree.setCapacity(0, capacity);
      again.setCapacity(0, capacity);
      const left = [...pieces(tree, 0)].flatMap(blockNames);
      expect([...pieces(again, 0)].flatMap(blockNames).toSorted()).toEqual(left.toSorted());
    }
  });

  it("misses nothing that stays, whatever changes in between", () => {
    const tree = new PrefixTree({ slotsMax: 2 });
    const staying = pathKeys([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    for (let i = 0; i < 20; i++) tree.insert(pathKeys([100 + i, 1, 2]), 0);
    tree.insert(staying, 0);
    const read = new Set<string>();
    let step = 0;
    for (const keys of pieces(tree, 0)) {
      blockNames(keys).forEach((name) => read.add(name));
      step += 1;
      // Used again, it moves to the ring's end when its turn comes; others are evicted and come.
      tree.insert(staying, 0);
      tree.setCapacity(0, 60 - step);
      tree.removeHolder(pathKeys([100 + step, 1, 2]), 0);
      if (step < 9) tree.insert(pathKeys([200 + step, 1]), 0);
    }
    for (const name of blockNames(staying)) expect(read.has(name)).toBe(true);
  });

  it("begins again when the ring was rebuilt in between", () => {
    const tree = new PrefixTree({ slotsMax: 2 });
    const staying = pathKeys([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    tree.insert(staying, 0);
    const buffer = new Uint32Array(BUFFER_WORDS);
    const first = tree.readHeld(0, 0, buffer);
    const read = new Set(blockNames(first.keys));
    const passing = pathKeys([7, 7, 7]);
    for (let i = 0; i < 600; i++) {
      tree.insert(passing, 0);
      tree.removeHolder(passing, 0);
    }
    for (let next = first.next; next !== undefined;) {
      const piece = tree.readHeld(0, next, buffer);
      blockNames(piece.keys).forEach((name) => read.add(name));
      next = piece.next;
    }
    for (const name of blockNames(staying)) expect(read.has(name)).toBe(true);
  });
});

describe("insert", () => {
  it("says how many blocks, from the first on, the endpoint held", () => {
    const tree = new PrefixTree({ slotsMax: 4 });
    expect(tree.insert(pathKeys([1, 2, 3]), 0)).toBe(0);
    expect(tree.insert(pathKeys([1, 2, 3, 4, 5]), 0)).toBe(3);
    expect(tree.insert(pathKeys([1, 2, 9]), 0)).toBe(2);
    expect(tree.insert(pathKeys([1, 2, 3, 4, 5]), 0)).toBe(5);
    expect(tree.insert(pathKeys([1, 2]), 1)).toBe(0);
    expect(tree.insert(new Uint32Array(), 0)).toBe(0);
  });
});

// The digest over pairs beside what is really held: no false no, additions that arrive, removals that do later.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddedPairs } from "../../../src/scheduler/edge/added-pairs.ts";
import type { EdgeDigest } from "../../../src/scheduler/edge/contracts.ts";
import { PairDigest } from "../../../src/scheduler/edge/pair-digest.ts";
import { CacheDigestBuilder } from "../../../src/scheduler/kv/digest/cache-digest-builder.ts";
import { pairHigh } from "../../../src/scheduler/kv/pair-words.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { pathOf, PoolObject } from "./pool-object.ts";

/** An isolate's copy. */
class Copy {
  version = "";
  digest: PairDigest | undefined;
  wholes = 0;

  take(part: EdgeDigest | undefined): void {
    if (part === undefined) return;
    this.version = part.version;
    if (part.bytes !== undefined) {
      this.digest = PairDigest.decode(part.bytes);
      this.wholes += 1;
    }
    if (part.added !== undefined) this.digest!.add(part.added);
  }

  of(keys: Uint32Array, slot: number): { likely: number; bound: number } {
    const [likely, bounds] = [new Int32Array(1024), new Int32Array(1024)];
    this.digest!.ask(keys);
    this.digest!.match(slot, likely, bounds);
    return { likely: likely[slot]!, bound: bounds[slot]! };
  }
}

function upToDate(pool: PoolObject, copy = new Copy()): Copy {
  pool.nowMs += 1_000;
  copy.take(pool.pairs.part(copy.version));
  pool.settle();
  copy.take(pool.pairs.part(copy.version));
  return copy;
}

describe("PairDigestSource and PairDigest", () => {
  it("never say no to what an endpoint holds, whatever came and went", () => {
    const change = fc.record({
      root: fc.nat(8),
      leaf: fc.nat(30),
      blocks: fc.integer({ min: 1, max: 50 }),
      slot: fc.nat(20),
      op: fc.constantFrom("insert", "insert", "insert", "remove", "void", "ask", "turn", "lost"),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 150, size: "max" }), (changes) => {
        const pool = new PoolObject(0, "e", 2_048);
        const copy = new Copy();
        const held = new Int32Array(1024);
        for (const { root, leaf, blocks, slot, op } of changes) {
          const keys = pathOf(root, blocks, leaf, 10);
          pool.nowMs += 100;
          if (op === "insert") pool.tree.insert(keys, slot);
          if (op === "remove") pool.tree.removeHolder(keys, slot);
          if (op === "void") pool.remove(slot);
          if (op === "turn") pool.settle();
          if (op === "lost") pool.pairs.part(copy.version);
          if (op !== "ask") continue;
          copy.take(pool.pairs.part(copy.version));
          if (copy.digest === undefined) continue;
          pool.tree.match(keys, held);
          for (let each = 0; each < 21; each++)
            expect(copy.of(keys, each).bound).toBeGreaterThanOrEqual(held[each]!);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("brings additions without the whole", () => {
    const pool = new PoolObject(8);
    for (let n = 0; n < 20; n++) pool.tree.insert(pathOf(n, 40), n % 8);
    const copy = upToDate(pool);
    expect(copy.wholes).toBe(1);
    pool.tree.insert(pathOf(99, 25), 3);
    // Its blocks were there, but at another endpoint.
    pool.tree.insert(pathOf(1, 30), 5);
    copy.take(pool.pairs.part(copy.version));
    expect(copy.wholes).toBe(1);
    expect(copy.of(pathOf(99, 25), 3).likely).toBe(25);
    expect(copy.of(pathOf(99, 25), 4).likely).toBe(0);
    expect(copy.of(pathOf(1, 40), 5).likely).toBe(30);
    expect(pool.pairs.part(copy.version)).toBeUndefined();
  });

  it("sends the whole to who is too far behind, and to who has that of another object", () => {
    const pool = new PoolObject(8);
    const [copy, late] = [upToDate(pool), upToDate(pool)];
    const rng = createRng(3);
    for (let n = 0; n < 60; n++) {
      pool.tree.insert(pathOf(Math.floor(rng() * 1e6), 40), n % 8);
      copy.take(pool.pairs.part(copy.version));
    }
    expect(pool.pairs.part(late.version)).toHaveProperty("bytes");
    expect(pool.pairs.part("other:1:0")).toHaveProperty("bytes");
    expect(pool.pairs.part("e:nonsense")).toHaveProperty("bytes");
    late.take(pool.pairs.part(late.version));
    expect(late.version).toBe(copy.version);
  });

  it("forgets what is gone when much is, and at once where a slot is void", () => {
    const pool = new PoolObject(8);
    for (let n = 0; n < 64; n++) pool.tree.insert(pathOf(n, 40), n % 8);
    const copy = upToDate(pool);
    pool.tree.removeHolder(pathOf(3, 40), 3);
    upToDate(pool, copy);
    expect(copy.of(pathOf(3, 40), 3).likely).toBe(40);
    for (let n = 0; n < 20; n++) pool.tree.removeHolder(pathOf(n, 40), n % 8);
    upToDate(pool, copy);
    expect(copy.of(pathOf(3, 40), 3).likely).toBe(0);
    pool.add(5);
    pool.remove(5);
    upToDate(pool, copy);
    expect(copy.of(pathOf(61, 40), 5).likely).toBe(0);
    expect(copy.of(pathOf(62, 40), 6).likely).toBe(40);
  });

  it("is stopped by being told so", () => {
    const pool = new PoolObject(2);
    upToDate(pool);
    pool.pairs.stop();
    expect(pool.tree.pairs.onAdded).toBeUndefined();
  });

  it("keeps its rate of wrong answers where pairs share keys", () => {
    const slots = 64;
    const blocks = 500;
    const builder = new CacheDigestBuilder({ keyCount: (slots * blocks) / 2, bytesMax: 8 * 1024 });
    const keys = pathOf(1, blocks);
    // Every other endpoint holds all of it.
    for (let slot = 0; slot < slots; slot += 2)
      for (let at = 0; at < keys.length; at += 2)
        builder.add(keys[at]!, pairHigh(keys[at + 1]!, slot));
    const copy = new Copy();
    copy.take({ version: "1", bytes: builder.encode() });
    let wrong = 0;
    for (let slot = 1; slot < slots; slot += 2)
      for (let block = 0; block < blocks; block++)
        wrong += copy.of(keys.subarray(block * 2, block * 2 + 2), slot).bound;
    const rate = copy.digest!.falsePositiveRate;
    expect(rate).toBeGreaterThan(0.01);
    expect(wrong / ((slots / 2) * blocks)).toBeCloseTo(rate, 1);
    expect(wrong / ((slots / 2) * blocks)).toBeLessThan(rate * 1.3);
  });

  it("refuses bytes that are no digest", () => {
    expect(PairDigest.decode(new Uint8Array(80))).toBeUndefined();
  });
});

describe("AddedPairs", () => {
  it("tells what came since any number that it still has", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.nat(40), fc.nat(40), (most, added, since) => {
        const pairs = new AddedPairs(most);
        for (let n = 0; n < added; n++) pairs.add(n, n + 1_000);
        const told = pairs.since(since);
        const isThere = since <= added && added - since <= most;
        const expected = Array.from({ length: Math.max(0, added - since) }, (_, n) => [
          n + since,
          n + since + 1_000,
        ]);
        expect(told && [...told]).toEqual(isThere ? expected.flat() : undefined);
      }),
    );
  });

  it("begins anew", () => {
    const pairs = new AddedPairs(4);
    pairs.add(1, 2);
    pairs.clear();
    expect(pairs.since(0)).toEqual(new Uint32Array(0));
    expect(pairs.since(1)).toBeUndefined();
    expect(pairs.since(Number.NaN)).toBeUndefined();
  });
});

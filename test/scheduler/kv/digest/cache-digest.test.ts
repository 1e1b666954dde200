// CacheDigest against a Set of keys: what it says yes to, what it must not say no to, and by how much a
// match is off.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createContentKeys } from "../../../../src/scheduler/kv/content-keys.ts";
import { CacheDigestBuilder } from "../../../../src/scheduler/kv/digest/cache-digest-builder.ts";
import { CacheDigest } from "../../../../src/scheduler/kv/digest/cache-digest.ts";
import { CACHE_DIGEST_LIMITS } from "../../../../src/scheduler/kv/digest/layout.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

/** Keys of a prompt of its own, so many blocks long. */
function promptKeys(seed: number, blocks: number): Uint32Array {
  const rng = createRng(seed);
  const bytes = Uint8Array.from({ length: blocks * 256 }, () => rng() * 256);
  const keys = createContentKeys({ model: "m" });
  keys.update(bytes);
  return keys.keys();
}

/** Quicker than hashing content, and as good: keys are hashes. */
function randomKeys(seed: number, count: number): Uint32Array {
  const rng = createRng(seed);
  return Uint32Array.from({ length: count * 2 }, () => rng() * 2 ** 32);
}

function digestOf(keys: readonly Uint32Array[], options: { keyCount: number; bytesMax?: number }) {
  const builder = new CacheDigestBuilder(options);
  for (const path of keys) builder.addKeys(path);
  return CacheDigest.decode(builder.encode())!;
}

/** Blocks of the path that the set has without a gap. */
function matchedInSet(held: ReadonlySet<string>, keys: Uint32Array): number {
  let at = 0;
  while (at < keys.length / 2 && held.has(`${keys[at * 2]}:${keys[at * 2 + 1]}`)) at++;
  return at;
}

describe("CacheDigest", () => {
  it("never says that less is there than is, whatever it is told to expect", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.boolean()), { maxLength: 20 }),
        fc.integer({ min: 0, max: 3_000_000 }),
        fc.constantFrom(0, 64, 100, 1024, 32 * 1024, 10 ** 9),
        (paths, keyCount, bytesMax) => {
          const prompts = paths.map(([blocks], i) => randomKeys(i, blocks));
          const held = new Set<string>();
          const builder = new CacheDigestBuilder({ keyCount, bytesMax });
          prompts.forEach((keys, i) => {
            // Of some prompts the first half is there.
            const known = paths[i]![1] ? keys : keys.subarray(0, (keys.length >>> 2) * 2);
            builder.addKeys(known);
            for (let at = 0; at < known.length; at += 2) held.add(`${known[at]}:${known[at + 1]}`);
          });
          const digest = CacheDigest.decode(builder.encode())!;
          for (const keys of prompts) {
            expect(digest.matchedBlocksMax(keys)).toBeGreaterThanOrEqual(matchedInSet(held, keys));
            expect(digest.matchedBlocks(keys)).toBeLessThanOrEqual(keys.length / 2);
          }
        },
      ),
    );
  });

  it("finds where a prompt ends that it holds a part of, if there is room for every key", () => {
    const prompts = Array.from({ length: 50 }, (_, i) => promptKeys(i, 40));
    const digest = digestOf(
      prompts.map((keys, i) => keys.subarray(0, i * 2 * 2 < keys.length ? i * 2 * 2 : undefined)),
      { keyCount: 2_000 },
    );
    expect(digest.sampling).toBe(1);
    const off = prompts.map((keys, i) =>
      Math.abs(digest.matchedBlocks(keys) - Math.min(40, i * 2)),
    );
    expect(off.filter((blocks) => blocks === 0).length).toBeGreaterThan(45);
    expect(digest.matchedBlocks(promptKeys(1_000, 40))).toBe(0);
    expect(digest.matchedBlocks(new Uint32Array())).toBe(0);
  });

  it("knows its rate of wrong answers", () => {
    for (const keyCount of [1_000, 60_000, 200_000]) {
      const held = randomKeys(1, keyCount);
      const digest = digestOf([held], { keyCount });
      const asked = randomKeys(2, 100_000);
      let sampled = 0;
      let wrong = 0;
      for (let at = 0; at < asked.length; at += 2) {
        if (asked[at]! % digest.sampling !== 0) continue;
        sampled++;
        // Of a path of one block: nobody holds more than that, or nobody holds it.
        wrong += digest.matchedBlocksMax(asked.subarray(at, at + 2));
      }
      expect(wrong / sampled).toBeGreaterThan(digest.falsePositiveRate * 0.9 - 0.005);
      expect(wrong / sampled).toBeLessThan(digest.falsePositiveRate * 1.1 + 0.005);
    }
  });

  it("takes a million keys by a sample, and is off by a few blocks", () => {
    const keyCount = 1_000_000;
    const filling = randomKeys(1, keyCount - 50_000);
    const prompts = Array.from({ length: 500 }, (_, i) => randomKeys(i + 10, 200));
    const digest = digestOf([filling, ...prompts.map((keys) => keys.subarray(0, 200))], {
      keyCount,
    });
    expect(digest.sampling).toBeGreaterThan(1);
    expect(digest.keyCount).toBe(keyCount);
    const errors = prompts.map((keys) => digest.matchedBlocks(keys) - 100);
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    const meanOff = errors.reduce((sum, error) => sum + Math.abs(error), 0) / errors.length;
    // 4 keys a bit: the mean error that decision 043 states, and no bias.
    expect(Math.abs(mean)).toBeLessThan(2);
    expect(meanOff).toBeLessThan(10);
  });

  it("says nothing where it is full, and that anything may be there", () => {
    const digest = digestOf([randomKeys(1, 20_000)], { keyCount: 1, bytesMax: 64 });
    expect(digest.falsePositiveRate).toBe(1);
    const keys = randomKeys(2, 10);
    expect(digest.matchedBlocks(keys)).toBe(0);
    expect(digest.matchedBlocksMax(keys)).toBe(10);
  });

  it("does not say that nobody holds more where something was left out", () => {
    const builder = new CacheDigestBuilder({ keyCount: 10 });
    const keys = randomKeys(1, 10);
    builder.addKeys(keys.subarray(0, 8));
    expect(CacheDigest.decode(builder.encode())!.matchedBlocksMax(keys)).toBe(4);
    builder.leaveOut();
    const digest = CacheDigest.decode(builder.encode())!;
    expect(digest.isComplete).toBe(false);
    expect(digest.matchedBlocksMax(keys)).toBe(10);
    expect(digest.matchedBlocks(keys)).toBe(4);
  });

  it("is not larger than it must be, and never larger than it may", () => {
    const sizeFor = (keyCount: number, bytesMax?: number) =>
      new CacheDigestBuilder({ keyCount, ...(bytesMax === undefined ? {} : { bytesMax }) }).encode()
        .length;
    expect(sizeFor(0)).toBe(64 + 16);
    expect(sizeFor(1_000)).toBe(1024 + 16);
    expect(sizeFor(10 ** 6)).toBe(CACHE_DIGEST_LIMITS.bytesDefault + 16);
    expect(sizeFor(10 ** 6, 10_000)).toBe(8192 + 16);
    expect(sizeFor(10 ** 9, 10 ** 9)).toBe(CACHE_DIGEST_LIMITS.bytesMax + 16);
  });

  it("goes on taking keys after it was encoded, without changing what was", () => {
    const builder = new CacheDigestBuilder({ keyCount: 10 });
    const keys = randomKeys(1, 4);
    const before = CacheDigest.decode(builder.encode())!;
    builder.addKeys(keys);
    expect(before.matchedBlocks(keys)).toBe(0);
    expect(CacheDigest.decode(builder.encode())!.matchedBlocks(keys)).toBe(4);
  });
});

describe("CacheDigest.decode", () => {
  const good = (): Uint8Array => new CacheDigestBuilder({ keyCount: 100 }).encode();

  it.for<[string, (bytes: Uint8Array) => Uint8Array]>([
    ["nothing", () => new Uint8Array()],
    ["a header without bits", (bytes) => bytes.subarray(0, 16)],
    ["too few bits", (bytes) => bytes.subarray(0, 16 + 32)],
    ["bits that are no power of two", (bytes) => bytes.subarray(0, bytes.length - 1)],
    [
      "too many bits",
      () => new Uint8Array(CACHE_DIGEST_LIMITS.bytesMax * 2 + 16).map((_, i) => good()[i] ?? 0),
    ],
    ["another magic", (bytes) => bytes.with(0, 0)],
    ["a later layout", (bytes) => bytes.with(1, 2)],
    ["no hash", (bytes) => bytes.with(2, 0)],
    ["too many hashes", (bytes) => bytes.with(2, CACHE_DIGEST_LIMITS.hashesMax + 1)],
    ["no sampling", (bytes) => bytes.with(4, 0)],
    ["too rare a sampling", (bytes) => bytes.with(7, 1)],
  ])("refuses %s", ([, change]) => {
    expect(CacheDigest.decode(good())).toBeDefined();
    expect(CacheDigest.decode(change(good()))).toBeUndefined();
  });

  it("reads any bytes without harm", () => {
    const keys = randomKeys(1, 100);
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.tuple(fc.nat(15), fc.nat(255)), { maxLength: 3 }),
        (bytes, changes) => {
          for (const some of [bytes, good()]) {
            for (const [at, value] of changes) if (at < some.length) some[at] = value;
            const digest = CacheDigest.decode(some);
            if (digest === undefined) continue;
            const matched = digest.matchedBlocks(keys);
            expect(matched).toBeGreaterThanOrEqual(0);
            expect(matched).toBeLessThanOrEqual(digest.matchedBlocksMax(keys));
            expect(digest.matchedBlocksMax(keys)).toBeLessThanOrEqual(100);
          }
        },
      ),
    );
  });

  it("reads bytes that begin anywhere in their buffer", () => {
    const bytes = new Uint8Array(good().length + 3);
    bytes.set(good(), 3);
    expect(CacheDigest.decode(bytes.subarray(3))!.sampling).toBe(1);
  });
});

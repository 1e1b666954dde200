// What the digest of a pool lacks and has while the tables that it is made of change.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DIGEST_INTERVAL_MS,
  DigestMaker,
  type PublishedDigest,
} from "../../../src/durable/summary/digest-maker.ts";
import { BlockTable, type KeyTable } from "../../../src/scheduler/kv/block-table.ts";
import { CacheDigest } from "../../../src/scheduler/kv/digest/cache-digest.ts";
import { DIGEST_SLICE_KEYS } from "../../../src/scheduler/kv/digest/live-digest.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

class Fixture {
  nowMs = 1_000;
  isComplete = true;
  published = 0;
  readonly table = new BlockTable(64 * 1024 * 1024);
  readonly #deferred: (() => void)[] = [];
  #decoded: { readonly published: PublishedDigest; readonly digest: CacheDigest } | undefined;
  tables: KeyTable[] = [this.table];
  readonly maker = new DigestMaker({
    tables: () => this.tables,
    isComplete: () => this.isComplete,
    clock: () => this.nowMs,
    defer: (callback) => this.#deferred.push(callback),
    incarnation: "i",
    onPublished: () => void (this.published += 1),
  });

  add(low: number, table = this.table): void {
    if (table.find(low, mixed(low)) === -1) table.setPayload(table.add(low, mixed(low)), 1);
  }

  remove(low: number): void {
    const id = this.table.find(low, mixed(low));
    if (id !== -1) this.table.remove(id);
  }

  /** One deferred turn; false if there was none. */
  turn(): boolean {
    const callback = this.#deferred.shift();
    callback?.();
    return callback !== undefined;
  }

  settle(): void {
    while (this.turn());
  }

  renew(afterMs = DIGEST_INTERVAL_MS): void {
    this.nowMs += afterMs;
    this.maker.renew();
    this.settle();
  }

  digest(): CacheDigest {
    const published = this.maker.published!;
    if (published !== this.#decoded?.published) {
      this.#decoded = { published, digest: CacheDigest.decode(published.bytes)! };
    }
    return this.#decoded.digest;
  }

  has(low: number): boolean {
    return this.digest().matchedBlocksMax(Uint32Array.of(low, mixed(low))) === 1;
  }
}

function mixed(low: number): number {
  return Math.imul(low ^ (low >>> 15), 0x85eb_ca6b) >>> 0;
}

function randomKeys(seed: number, count: number): number[] {
  const rng = createRng(seed);
  return Array.from({ length: count }, () => Math.floor(rng() * 2 ** 32));
}

describe("DigestMaker", () => {
  it("misses nothing that a table holds when it is published, whatever changes meanwhile", () => {
    const step = fc.record({ key: fc.integer({ min: 1, max: 200 }), isAdd: fc.boolean() });
    const turns = fc.array(fc.array(step, { maxLength: 20 }), { maxLength: 12 });
    fc.assert(
      fc.property(turns, (all) => {
        const pool = new Fixture();
        for (const key of randomKeys(1, 3 * DIGEST_SLICE_KEYS)) pool.add(key);
        const held = new Set<number>();
        const missed: number[] = [];
        for (const steps of all) {
          pool.nowMs += 500;
          pool.maker.renew();
          for (const { key, isAdd } of steps) {
            if (isAdd) pool.add(key);
            else pool.remove(key);
            if (isAdd) held.add(key);
            else held.delete(key);
          }
          const before = pool.published;
          pool.turn();
          if (pool.published === before) continue;
          missed.push(...[...held].filter((key) => !pool.has(key)));
        }
        expect(missed).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });

  it("reads a large table in slices, a turn each", () => {
    const pool = new Fixture();
    for (const key of randomKeys(1, 10 * DIGEST_SLICE_KEYS)) pool.add(key);
    pool.maker.renew();
    let turns = 0;
    while (pool.turn()) turns += 1;
    expect(turns).toBeGreaterThanOrEqual(10);
    expect(pool.published).toBe(1);
  });

  it("makes none while nothing changes, and none sooner than after the interval", () => {
    const pool = new Fixture();
    pool.add(1);
    pool.renew();
    pool.renew();
    pool.renew();
    expect(pool.published).toBe(1);
    pool.add(2);
    pool.renew(DIGEST_INTERVAL_MS);
    expect(pool.published).toBe(2);
    pool.add(3);
    pool.renew(DIGEST_INTERVAL_MS - 1);
    expect(pool.published).toBe(2);
    pool.renew(1);
    expect(pool.published).toBe(3);
    expect(pool.has(3)).toBe(true);
  });

  it("numbers what it publishes, of an incarnation", () => {
    const pool = new Fixture();
    pool.renew();
    expect(pool.maker.published).toMatchObject({ version: "i:1", publishedAtMs: pool.nowMs });
    pool.add(1);
    pool.renew();
    expect(pool.maker.published?.version).toBe("i:2");
  });

  it("forgets what is gone when it is more than a small part", () => {
    const pool = new Fixture();
    const keys = randomKeys(1, 2_000);
    for (const key of keys) pool.add(key);
    pool.renew();
    expect(pool.has(keys[0]!)).toBe(true);
    for (const key of keys.slice(0, 1_000)) pool.remove(key);
    pool.renew();
    expect(keys.slice(0, 1_000).filter((key) => pool.has(key)).length).toBeLessThan(100);
    expect(keys.slice(1_000).every((key) => pool.has(key))).toBe(true);
  });

  it("grows with what it holds", () => {
    const pool = new Fixture();
    pool.renew();
    const keys = randomKeys(1, 20_000);
    for (const key of keys) pool.add(key);
    pool.renew();
    expect(pool.digest().falsePositiveRate).toBeLessThan(0.05);
    expect(keys.every((key) => pool.has(key))).toBe(true);
  });

  it("is of all tables, and of others when they are others", () => {
    const pool = new Fixture();
    const other = new BlockTable(1024 * 1024);
    pool.tables = [pool.table, other];
    pool.add(1);
    pool.add(2, other);
    pool.renew();
    expect([pool.has(1), pool.has(2)]).toEqual([true, true]);
    pool.tables = [other];
    pool.renew();
    expect([pool.has(1), pool.has(2)]).toEqual([false, true]);
    // The one that was left out is listened to no more.
    expect(pool.table.onAdded).toBeUndefined();
  });

  it("says when the pool does not know yet all that it will", () => {
    const pool = new Fixture();
    pool.isComplete = false;
    pool.renew();
    expect(pool.digest().isComplete).toBe(false);
    pool.isComplete = true;
    pool.renew();
    expect(pool.digest().isComplete).toBe(true);
  });

  it("stops in the middle of a build", () => {
    const pool = new Fixture();
    for (const key of randomKeys(1, 3 * DIGEST_SLICE_KEYS)) pool.add(key);
    pool.maker.renew();
    pool.turn();
    pool.maker.stop();
    pool.settle();
    expect(pool.published).toBe(0);
    expect(pool.table.onAdded).toBeUndefined();
  });
});

import { describe, expect, it } from "vitest";
import { DIGEST_READ_BYTES_MAX, type PoolDigest } from "../../../src/durable/directory/contract.ts";
import {
  DIGEST_BYTES_MAX,
  DIGEST_IDLE_MS,
  DIGESTS_BYTES_MAX,
  KeptDigests,
} from "../../../src/durable/directory/kept-digests.ts";

function digest(pool: string, bytes = 100, version = "v1"): PoolDigest {
  return { pool, version, ageMs: 7, bytes: new Uint8Array(bytes) };
}

function kept() {
  const clock = { nowMs: 1_000_000 };
  const digests = new KeptDigests(() => clock.nowMs);
  const read = (...pools: string[]) =>
    digests.read(pools.map((pool) => ({ pool, known: "" }))).map(({ pool }) => pool);
  return { clock, digests, read };
}

/** Pools whose digests fill the memory. */
const FULL = Array.from(
  { length: Math.floor(DIGESTS_BYTES_MAX / DIGEST_BYTES_MAX) },
  (_, i) => `p${i}`,
);

describe("KeptDigests", () => {
  it("wants none that no isolate has asked for of late", () => {
    const { clock, digests, read } = kept();
    expect([digests.isUsed("a"), digests.wants("a", "v1")]).toEqual([false, false]);
    read("a");
    expect([digests.isUsed("a"), digests.wants("a", "v1")]).toEqual([true, true]);
    expect(digests.wants("b", "v1")).toBe(false);
    clock.nowMs += DIGEST_IDLE_MS;
    expect([digests.isUsed("a"), digests.wants("a", "v1")]).toEqual([false, false]);
  });

  it("wants a digest that it has not, and only where there is one", () => {
    const { digests, read } = kept();
    read("a");
    expect(digests.wants("a", undefined)).toBe(false);
    expect(digests.wants("a", "v1")).toBe(true);
    digests.put(digest("a"));
    expect(digests.wants("a", "v1")).toBe(false);
    expect(digests.wants("a", "v2")).toBe(true);
  });

  it("gives what is wanted and another version, with its age", () => {
    const { clock, digests } = kept();
    digests.put(digest("a"));
    clock.nowMs += 30;
    expect(digests.read([{ pool: "a", known: "v0" }])).toMatchObject([{ pool: "a", ageMs: 37 }]);
    expect(digests.read([{ pool: "a", known: "v1" }])).toEqual([]);
    expect(digests.read([{ pool: "b", known: "" }])).toEqual([]);
  });

  it("gives as many as fit in a read, in the caller's order", () => {
    const { digests, read } = kept();
    const pools = Array.from(
      { length: Math.floor(DIGEST_READ_BYTES_MAX / DIGEST_BYTES_MAX) + 1 },
      (_, i) => `p${i}`,
    );
    for (const pool of pools) digests.put(digest(pool, DIGEST_BYTES_MAX));
    expect(read(...pools)).toEqual(pools.slice(0, -1));
    expect(read(...pools.toReversed())).toEqual(pools.toReversed().slice(0, -1));
  });

  it("does not keep one that is too large, nor the pool's older one then", () => {
    const { digests, read } = kept();
    digests.put(digest("a", DIGEST_BYTES_MAX));
    expect(read("a")).toEqual(["a"]);
    digests.put(digest("a", DIGEST_BYTES_MAX + 1, "v2"));
    expect(read("a")).toEqual([]);
    expect(digests.bytes).toBe(0);
  });

  it("makes room for one that is wanted among those that nobody wants", () => {
    const { clock, digests, read } = kept();
    for (const pool of FULL) digests.put(digest(pool, DIGEST_BYTES_MAX));
    expect(digests.bytes).toBe(FULL.length * DIGEST_BYTES_MAX);
    expect(digests.wants("late", "v1")).toBe(false);
    clock.nowMs += DIGEST_IDLE_MS;
    read("late", ...FULL.slice(1));
    expect(digests.wants("late", "v1")).toBe(true);
    digests.put(digest("late", DIGEST_BYTES_MAX));
    expect(digests.bytes).toBe(FULL.length * DIGEST_BYTES_MAX);
    expect(read("late")).toEqual(["late"]);
    expect(read(FULL[0]!)).toEqual([]);
    expect(read(FULL[1]!)).toEqual([FULL[1]]);
  });

  it("lets nobody push out what is wanted, too", () => {
    const { digests, read } = kept();
    for (const pool of FULL) digests.put(digest(pool, DIGEST_BYTES_MAX));
    read("late", ...FULL);
    expect(digests.wants("late", "v1")).toBe(false);
    digests.put(digest("late", DIGEST_BYTES_MAX));
    expect(digests.bytes).toBe(FULL.length * DIGEST_BYTES_MAX);
    expect(read("late")).toEqual([]);
    // Its own room is always a pool's own.
    expect(digests.wants(FULL[3]!, "v2")).toBe(true);
  });
});

import { describe, expect, it } from "vitest";
import { SlabPool } from "../../../src/scheduler/kv/slab-pool.ts";

describe("SlabPool", () => {
  it("hands out pieces that do not overlap, over several slabs", () => {
    const pool = new SlabPool(3);
    const pieces = Array.from({ length: 3_000 }, () => pool.take());
    for (const piece of pieces) {
      pool.slab(piece).fill(piece + 1, pool.offset(piece), pool.offset(piece) + 3);
    }
    for (const piece of pieces) {
      const words = pool.slab(piece).subarray(pool.offset(piece), pool.offset(piece) + 3);
      expect([...words]).toEqual([piece + 1, piece + 1, piece + 1]);
    }
  });

  it("reuses a freed piece, cleared, before it grows", () => {
    const pool = new SlabPool(2);
    const pieces = Array.from({ length: 1_024 }, () => pool.take());
    for (const piece of pieces)
      pool.slab(piece).fill(7, pool.offset(piece), pool.offset(piece) + 2);
    const bytes = pool.byteLength;
    expect(pool.hasFree).toBe(false);
    pool.free(pieces[3]!);
    pool.free(pieces[900]!);
    expect(pool.hasFree).toBe(true);
    const again = [pool.take(), pool.take()];
    expect(again.toSorted((a, b) => a - b)).toEqual([pieces[3], pieces[900]]);
    for (const piece of again) expect(pool.slab(piece)[pool.offset(piece) + 1]).toBe(0);
    expect(pool.byteLength).toBe(bytes);
    pool.take();
    expect(pool.byteLength).toBe(bytes + pool.slabBytes);
  });
});

// Content keys against a naive hasher that sees the whole prompt at once.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CONTENT_BLOCK_BYTES,
  CONTENT_KEYS_MAX,
  type ContentKeyRoot,
  createContentKeys,
} from "../../../src/scheduler/kv/content-keys.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

function keysOf(text: string, root: ContentKeyRoot = { model: "m" }): string[] {
  const content = createContentKeys(root);
  content.update(utf8(text));
  return hex(content.keys());
}

/** Keys as 16 hex digits each, high word first. */
function hex(keys: Uint32Array): string[] {
  return Array.from({ length: keys.length / 2 }, (_, i) =>
    [keys[i * 2 + 1]!, keys[i * 2]!].map((word) => word.toString(16).padStart(8, "0")).join(""),
  );
}

// The definition once more, in BigInt arithmetic modulo 2^32 and without streaming.
const U32 = (value: bigint) => BigInt.asUintN(32, value);
const rotate = (value: bigint, by: bigint) => U32((value << by) | (value >> (32n - by)));
function finalize(value: bigint): bigint {
  let h = U32(value ^ (value >> 16n));
  h = U32(h * 0x85ebca6bn);
  h = U32((h ^ (h >> 13n)) * 0xc2b2ae35n);
  return h ^ (h >> 16n);
}
function rootLane(text: string, seed: bigint): bigint {
  let h = seed;
  for (const unit of Array.from({ length: text.length }, (_, i) => BigInt(text.charCodeAt(i)))) {
    h = U32((h ^ unit) * 0x01000193n);
    h ^= h >> 15n;
  }
  return finalize(U32(h ^ BigInt(text.length)));
}
function naiveKeys(text: string, root: { model: string; adapter: string; salt: string }): string[] {
  const { model, adapter, salt } = root;
  const rootText = `${model.length}:${model}${adapter.length}:${adapter}${salt}`;
  let low = rootLane(rootText, 0x811c9dc5n);
  let high = rootLane(rootText, 0x9747b28cn);
  const keys: string[] = [];
  const bytes = [...utf8(text)].map(BigInt);
  const blocks = Math.min(CONTENT_KEYS_MAX, Math.floor(bytes.length / CONTENT_BLOCK_BYTES));
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < CONTENT_BLOCK_BYTES; i += 4) {
      const at = block * CONTENT_BLOCK_BYTES + i;
      const [a, b, c, d] = bytes.slice(at, at + 4);
      const word = a! | (b! << 8n) | (c! << 16n) | (d! << 24n);
      low ^= U32(rotate(U32(word * 0xcc9e2d51n), 15n) * 0x1b873593n);
      low = U32(rotate(low, 13n) * 5n + 0xe6546b64n);
      high ^= U32(rotate(U32(word * 0x239b961bn), 16n) * 0xab0e9789n);
      high = U32(rotate(high, 17n) * 5n + 0x561ccd1bn + low);
    }
    low = finalize(low ^ BigInt(CONTENT_BLOCK_BYTES));
    high = finalize(high ^ low);
    keys.push(high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0"));
  }
  return keys;
}

// Any code units, lone surrogates too, and long enough for several blocks.
const text = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 })
  .chain((units) => fc.nat(60).map((times) => String.fromCharCode(...units).repeat(times)));
const name = fc.string({ maxLength: 12 });

describe("content keys", () => {
  it("are what the naive definition says", () => {
    fc.assert(
      fc.property(text, name, name, name, (prompt, model, adapter, salt) => {
        const root = { model, adapter, salt };
        expect(keysOf(prompt, root)).toEqual(naiveKeys(prompt, root));
      }),
    );
  });

  // Agents of other versions must agree on every bit: a change here is a change of the protocol.
  it.for<{ name: string; root: ContentKeyRoot; prompt: string; want: string[] }>([
    {
      name: "plain text",
      root: { model: "model-a" },
      prompt: "the quick brown fox jumps over the lazy dog. ".repeat(12),
      want: ["5c4f3de3a806decb", "25ca456b5fadfd4f"],
    },
    {
      name: "adapter and salt",
      root: { model: "model-a", adapter: "lora-1", salt: "tenant-a" },
      prompt: "the quick brown fox jumps over the lazy dog. ".repeat(12),
      want: ["efa8e850fbe23c40", "92fc605d8c7c5db2"],
    },
    {
      name: "wide characters, surrogate pairs and a lone surrogate",
      root: { model: "模型" },
      prompt: "多言語😀\ud800".repeat(43),
      want: ["5ff8e60118e37805", "ab6fa10e51612d8a"],
    },
  ])("keep their golden values: $name", ({ root, prompt, want }) => {
    expect(keysOf(prompt, root)).toEqual(want);
    expect(naiveKeys(prompt, { adapter: "", salt: "", ...root })).toEqual(want);
  });

  it("do not depend on how the prompt is cut into parts", () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(600), { maxLength: 12 }), (prompt, cuts) => {
        const content = createContentKeys({ model: "m" });
        const bytes = utf8(prompt);
        let from = 0;
        for (const length of cuts) {
          content.update(bytes.subarray(from, from + length));
          from += length;
        }
        content.update(bytes.subarray(Math.min(from, bytes.length)));
        expect(hex(content.keys())).toEqual(keysOf(prompt));
        expect(content.byteCount).toBe(bytes.length);
      }),
    );
  });

  it("are shared up to the block where two prompts part, and by nothing after it", () => {
    const shared = "s".repeat(CONTENT_BLOCK_BYTES * 3);
    const tail = "t".repeat(CONTENT_BLOCK_BYTES * 2);
    const one = keysOf(`${shared}a${tail}`);
    const two = keysOf(`${shared}b${tail}`);
    expect(one.slice(0, 3)).toEqual(two.slice(0, 3));
    for (const key of one.slice(3)) expect(two).not.toContain(key);
  });

  it("exist for full blocks only", () => {
    expect(keysOf("x".repeat(CONTENT_BLOCK_BYTES - 1))).toHaveLength(0);
    expect(keysOf("x".repeat(CONTENT_BLOCK_BYTES))).toHaveLength(1);
    expect(keysOf("x".repeat(CONTENT_BLOCK_BYTES * 2 - 1))).toHaveLength(1);
  });

  it("end at CONTENT_KEYS_MAX, while bytes are counted on", () => {
    const content = createContentKeys({ model: "m" });
    const part = "y".repeat(CONTENT_BLOCK_BYTES * 500);
    for (let i = 0; i < 6; i++) content.update(utf8(part));
    expect(content.keys()).toHaveLength(CONTENT_KEYS_MAX * 2);
    expect(content.byteCount).toBe(part.length * 6);
    content.update(utf8("z"));
    expect(hex(content.keys())).toEqual(keysOf(part.repeat(5)));
  });

  it("are a copy that later parts leave alone", () => {
    const content = createContentKeys({ model: "m" });
    content.update(utf8("a".repeat(CONTENT_BLOCK_BYTES)));
    const before = content.keys();
    content.update(utf8("b".repeat(CONTENT_BLOCK_BYTES)));
    expect(before).toHaveLength(2);
    expect(content.keys()).toHaveLength(4);
  });

  it("differ by model, adapter and salt, however these are cut", () => {
    const prompt = "p".repeat(CONTENT_BLOCK_BYTES);
    const roots: ContentKeyRoot[] = [
      { model: "ab" },
      { model: "a", adapter: "b" },
      { model: "a", salt: "b" },
      { model: "a", adapter: "b", salt: "c" },
      { model: "a", adapter: "bc" },
      { model: "a", salt: "bc" },
      { model: "a0:", salt: "" },
      { model: "a" },
    ];
    const keys = roots.map((root) => keysOf(prompt, root)[0]);
    expect(new Set(keys).size).toBe(roots.length);
  });

  it("take an absent adapter or salt as an empty one", () => {
    const prompt = "p".repeat(CONTENT_BLOCK_BYTES);
    expect(keysOf(prompt, { model: "a", adapter: "", salt: "" })).toEqual(
      keysOf(prompt, { model: "a" }),
    );
  });

  it("change about half of their bits when one character changes", () => {
    const rng = createRng(11);
    const base = Array.from({ length: CONTENT_BLOCK_BYTES }, () => 97 + Math.floor(rng() * 26));
    const keyOf = (units: number[]) => BigInt(`0x${keysOf(String.fromCharCode(...units))[0]!}`);
    const original = keyOf(base);
    let flipped = 0;
    for (let at = 0; at < CONTENT_BLOCK_BYTES; at++) {
      const changed = [...base];
      changed[at]! ^= 1;
      const bits = (original ^ keyOf(changed)).toString(2).replaceAll("0", "").length;
      // 64 fair coins: fewer than 12 or more than 52 heads is beyond five standard deviations.
      expect(bits).toBeGreaterThan(11);
      expect(bits).toBeLessThan(53);
      flipped += bits;
    }
    expect(Math.abs(flipped / CONTENT_BLOCK_BYTES - 32)).toBeLessThan(2);
  });

  it("do not collide, in either lane beyond chance, over 200,000 similar blocks", () => {
    const count = 200_000;
    const block = new Uint8Array(CONTENT_BLOCK_BYTES).fill(45);
    const encoder = new TextEncoder();
    const both = new Set<bigint>();
    const lanes = [new Set<number>(), new Set<number>()];
    for (let i = 0; i < count; i++) {
      const content = createContentKeys({ model: "m" });
      encoder.encodeInto(String(i).padStart(8, "0"), block);
      content.update(block);
      const [low, high] = content.keys();
      both.add((BigInt(high!) << 32n) | BigInt(low!));
      lanes[0]!.add(low!);
      lanes[1]!.add(high!);
    }
    expect(both.size).toBe(count);
    // n² / 2^33 = 4.7 collisions are expected in 32 bits.
    for (const lane of lanes) expect(count - lane.size).toBeLessThan(25);
  });
});

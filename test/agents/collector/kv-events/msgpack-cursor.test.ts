import { decode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  MalformedError,
  MsgpackCursor,
} from "../../../../src/agents/collector/kv-events/msgpack-cursor.ts";
import { hexOf, pack } from "./support/batches.ts";

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.integer(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.double(),
    // The library loses it from longer ones.
    fc.string({ unit: "binary", maxLength: 300 }).filter((text) => !text.startsWith("\uFEFF")),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("any"), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ maxLength: 5 }).filter((key) => key !== "__proto__"),
      tie("any"),
      { maxKeys: 20 },
    ),
  ),
})).any;

/** Reads as the library does, to compare with it. */
function readAny(cursor: MsgpackCursor): unknown {
  switch (cursor.peek()) {
    case "integer": {
      const words = new Uint32Array(2);
      cursor.readWords(words, 0);
      return hexOf(words)[0];
    }
    case "text":
      return cursor.readText(10_000);
    case "bytes":
      return [...cursor.readBytes(10_000)];
    case "array": {
      const length = cursor.readArrayLength(10_000);
      return Array.from({ length }, () => readAny(cursor));
    }
    case "map": {
      const entries: [unknown, unknown][] = [];
      for (let left = cursor.readMapLength(10_000); left > 0; left--) {
        entries.push([readAny(cursor), readAny(cursor)]);
      }
      return { entries };
    }
    case "nil":
    case "boolean":
    case "float":
    case "extension":
      cursor.skip();
      return "passed over";
  }
}

/** Where it writes bigints as integers, the library writes numbers of more than 32 bits as floats. */
function isInteger(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= -(2 ** 31) && Number(value) < 2 ** 32;
}

function asRead(value: unknown): unknown {
  if (typeof value === "bigint" || isInteger(value)) {
    return BigInt.asUintN(64, BigInt(value)).toString(16).padStart(16, "0");
  }
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(asRead);
  if (typeof value !== "object" || value === null) return "passed over";
  return { entries: Object.entries(value).map(([key, held]) => [key, asRead(held)]) };
}

const decoded = (bytes: Uint8Array) => decode(bytes, { useBigInt64: true });

function passWhole(bytes: Uint8Array): void {
  const cursor = new MsgpackCursor(bytes);
  cursor.skip();
  if (!cursor.isAtEnd) throw new MalformedError("bytes follow");
}

/** Whether `read` takes what it is given. What it throws must be a refusal, not a slip. */
function isReadBy(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (error instanceof TypeError) throw error;
    return false;
  }
}

describe("MsgpackCursor", () => {
  it("reads what the library wrote, and passes over it to the same end", () => {
    fc.assert(
      fc.property(value, (written) => {
        const bytes = pack(written);
        const passing = new MsgpackCursor(bytes);
        passing.skip();
        expect(passing.isAtEnd).toBe(true);
        const cursor = new MsgpackCursor(bytes);
        expect(readAny(cursor)).toEqual(asRead(decoded(bytes)));
        expect(cursor.isAtEnd).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it.for(["\uFEFF", "\uFEFFabc", `\uFEFF${"x".repeat(300)}`])(
    "keeps U+FEFF at the beginning of a text",
    (text) => {
      expect(new MsgpackCursor(pack(text)).readText(1_000)).toBe(text);
    },
  );

  it("agrees with the library on which random bytes are a value", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
        // The library also reads texts, keys and dates, so it may refuse more; never less.
        expect(isReadBy(() => decoded(bytes)) && !isReadBy(() => passWhole(bytes))).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  it.for([
    { bytes: [0x7f], is: 127 },
    { bytes: [0xe0], is: -32 },
    { bytes: [0xcc, 0xff], is: 255 },
    { bytes: [0xcd, 0xff, 0xfe], is: 65_534 },
    { bytes: [0xce, 0xff, 0xff, 0xff, 0xff], is: 4_294_967_295 },
    { bytes: [0xcf, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], is: Number.MAX_SAFE_INTEGER },
    { bytes: [0xd0, 0x80], is: -128 },
    { bytes: [0xd1, 0x80, 0], is: -32_768 },
    { bytes: [0xd2, 0x80, 0, 0, 0], is: -2_147_483_648 },
    { bytes: [0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], is: -1 },
  ])("reads $is from $bytes", ({ bytes, is }) => {
    expect(new MsgpackCursor(Uint8Array.from(bytes)).readInteger()).toBe(is);
    const words = new Uint32Array(2);
    new MsgpackCursor(Uint8Array.from(bytes)).readWords(words, 0);
    expect(hexOf(words)[0]).toBe(BigInt.asUintN(64, BigInt(is)).toString(16).padStart(16, "0"));
  });

  it("refuses an integer that a double cannot hold", () => {
    const bytes = Uint8Array.from([0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0]);
    expect(() => new MsgpackCursor(bytes).readInteger()).toThrow(MalformedError);
  });

  it("refuses a length that the bytes left cannot hold, before it allocates", () => {
    const array = Uint8Array.from([0xdd, 0, 0, 0, 3, 1, 2]);
    expect(() => new MsgpackCursor(array).readArrayLength(10)).toThrow("ends too early");
    const map = Uint8Array.from([0xdf, 0, 0, 0, 2, 1, 2, 3]);
    expect(() => new MsgpackCursor(map).readMapLength(10)).toThrow("ends too early");
    const text = Uint8Array.from([0xdb, 0xff, 0xff, 0xff, 0xff, 0x61]);
    expect(() => new MsgpackCursor(text).readText(0xffffffff)).toThrow("ends too early");
  });

  it("takes lengths at the caller's bound and none above", () => {
    const array = Uint8Array.from([0x93, 1, 2, 3]);
    expect(new MsgpackCursor(array).readArrayLength(3)).toBe(3);
    expect(() => new MsgpackCursor(array).readArrayLength(2)).toThrow("at most 2 elements");
    const text = pack("äöü");
    expect(new MsgpackCursor(text).readText(3)).toBe("äöü");
    expect(() => new MsgpackCursor(text).readText(2)).toThrow("at most 2 characters");
    const bytes = pack(Uint8Array.from([1, 2, 3]));
    expect(new MsgpackCursor(bytes).readBytes(3)).toHaveLength(3);
    expect(() => new MsgpackCursor(bytes).readBytes(2)).toThrow("at most 2 bytes");
  });

  it("passes over nesting of any depth without recursion", () => {
    const deep = new Uint8Array(1_000_000).fill(0x91);
    deep[deep.length - 1] = 0xc0;
    const cursor = new MsgpackCursor(deep);
    cursor.skip();
    expect(cursor.isAtEnd).toBe(true);
  });

  it("refuses text that is not UTF-8 and the head that is never used", () => {
    expect(() => new MsgpackCursor(Uint8Array.from([0xa1, 0xff])).readText(5)).toThrow("UTF-8");
    expect(() => new MsgpackCursor(Uint8Array.from([0xc1])).skip()).toThrow(MalformedError);
  });
});

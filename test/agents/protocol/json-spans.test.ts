import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  insertMember,
  JSON_KEY_BYTES_MAX,
  scanElements,
  scanTopLevel,
  spliceBytes,
  type JsonScan,
} from "../../../src/agents/protocol/json-spans.ts";

const LIMITS = { depthMax: 64, keysMax: 128 };
const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const scan = (text: string, limits = LIMITS) => scanTopLevel(encode(text), limits);

/** Each member's value as it stands in the text. */
function valuesOf(text: string): Record<string, string> {
  const result = scan(text);
  if (!result.ok) throw new Error(`not scanned: ${result.error.code}`);
  const bytes = encode(text);
  return Object.fromEntries(
    [...result.spans].map(([key, span]) => [
      key,
      decode(bytes.subarray(span.valueStart, span.valueEnd)),
    ]),
  );
}

function errorOf(result: JsonScan) {
  return result.ok ? undefined : result.error;
}

describe("scanTopLevel", () => {
  it.for([
    { name: "an empty object", text: " { } ", values: {} },
    {
      name: "literals",
      text: '{"a":1.5e+3,"b":true,"c":null}',
      values: { a: "1.5e+3", b: "true", c: "null" },
    },
    {
      name: "space everywhere",
      text: '\n{ "a" :\t"x" , "b"\r:{} }\n',
      values: { a: '"x"', b: "{}" },
    },
    {
      name: "escaped quotes",
      text: String.raw`{"a":"x\"}","b":"\\"}`,
      values: { a: String.raw`"x\"}"`, b: String.raw`"\\"` },
    },
    {
      name: "brackets in strings",
      text: '{"a":["}",{"b":"]"}],"c":2}',
      values: { a: '["}",{"b":"]"}]', c: "2" },
    },
    { name: "escaped keys", text: String.raw`{"\u0070riority":1}`, values: { priority: "1" } },
    {
      name: "keys beyond ASCII",
      text: '{"schlüssel 🗝 100%":1}',
      values: { "schlüssel 🗝 100%": "1" },
    },
  ])("finds the members of $name", ({ text, values }) => {
    expect(valuesOf(text)).toEqual(values);
  });

  it.for([
    { name: "an array", text: "[1]", code: "not-an-object", at: 0 },
    { name: "nothing", text: "", code: "not-an-object", at: 0 },
    { name: "an unclosed object", text: '{"a":1', code: "malformed", at: 6 },
    { name: "an unclosed string", text: '{"a":"x', code: "malformed", at: 5 },
    {
      name: "a string that ends in an escaped quote",
      text: String.raw`{"a":"x\"}`,
      code: "malformed",
      at: 5,
    },
    { name: "mismatched brackets", text: '{"a":[1}}', code: "malformed", at: 7 },
    { name: "a missing value", text: '{"a":}', code: "malformed", at: 5 },
    { name: "a missing colon", text: '{"a" 1}', code: "malformed", at: 5 },
    { name: "a trailing comma", text: '{"a":1,}', code: "malformed", at: 7 },
    { name: "an unquoted key", text: "{a:1}", code: "malformed", at: 1 },
    { name: "a key with a bad escape", text: String.raw`{"\x":1}`, code: "malformed", at: 1 },
    { name: "text after the object", text: '{"a":1} {', code: "malformed", at: 8 },
    { name: "a key that stands twice", text: '{"a":1,"b":2,"a":3}', code: "duplicate-key", at: 13 },
    {
      name: "a key that stands twice, once escaped",
      text: String.raw`{"a":1,"\u0061":3}`,
      code: "duplicate-key",
      at: 7,
    },
  ])("refuses $name", ({ text, code, at }) => {
    expect(errorOf(scan(text))).toMatchObject({ code, at });
  });

  it("names the key that stands twice", () => {
    expect(errorOf(scan('{"a":1,"a":2}'))).toMatchObject({ key: "a" });
  });

  it("refuses a key that is not UTF-8", () => {
    const bytes = Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d);
    expect(errorOf(scanTopLevel(bytes, LIMITS))).toMatchObject({ code: "malformed" });
  });

  it("counts depth with the object itself, up to the limit", () => {
    const nested = (depth: number) => `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    expect(scan(nested(LIMITS.depthMax - 1)).ok).toBe(true);
    expect(errorOf(scan(nested(LIMITS.depthMax)))).toMatchObject({ code: "too-deep" });
  });

  it("allows keys up to the limit", () => {
    const members = (count: number) =>
      `{${Array.from({ length: count }, (_, i) => `"k${i}":0`).join(",")}}`;
    expect(scan(members(LIMITS.keysMax)).ok).toBe(true);
    expect(errorOf(scan(members(LIMITS.keysMax + 1)))).toMatchObject({ code: "too-many-keys" });
  });

  it("agrees with JSON.parse on every object", () => {
    const object = fc.dictionary(
      fc.string({ unit: "binary" }).map((s) => s.toWellFormed()),
      fc.jsonValue(),
      {
        noNullPrototype: true,
      },
    );
    fc.assert(
      fc.property(object, fc.constantFrom(undefined, 1, "\t"), (value, indent) => {
        const values = valuesOf(JSON.stringify(value, null, indent));
        const parsed = Object.entries(values).map(([key, text]) => [key, JSON.parse(text)]);
        expect(new Map(parsed as [string, unknown][])).toEqual(
          new Map(Object.entries(JSON.parse(JSON.stringify(value)) as object)),
        );
      }),
    );
  });

  it("allows keys of the longest size", () => {
    const member = (bytes: number) => `{"${"k".repeat(bytes - 2)}":0}`;
    expect(scan(member(JSON_KEY_BYTES_MAX)).ok).toBe(true);
    expect(errorOf(scan(member(JSON_KEY_BYTES_MAX + 1)))).toMatchObject({ code: "key-too-long" });
  });

  it("never throws, whatever the bytes", () => {
    const noise = fc
      .array(fc.constantFrom(...encode('{}[]",:\\ u0a1t\u00e4')), { maxLength: 40 })
      .map((bytes) => Uint8Array.from(bytes));
    const inputs = fc.sample(fc.oneof(noise, fc.uint8Array({ maxLength: 60 })), 2_000);
    for (const bytes of inputs) {
      const at = errorOf(scanTopLevel(bytes, LIMITS))?.at ?? 0;
      expect(at).toBeLessThanOrEqual(bytes.byteLength);
    }
  });
});

describe("spliceBytes", () => {
  it("replaces, inserts and deletes", () => {
    const edits = [
      { start: 0, end: 0, bytes: encode("<") },
      { start: 1, end: 3, bytes: encode("XYZ") },
      { start: 4, end: 5, bytes: encode("") },
      { start: 6, end: 6, bytes: encode(">") },
    ];
    expect(decode(spliceBytes(encode("abcdef"), edits))).toBe("<aXYZdf>");
  });

  it("copies when there is nothing to do", () => {
    const bytes = encode("same");
    const copy = spliceBytes(bytes, []);
    expect(copy).toEqual(bytes);
    expect(copy.buffer).not.toBe(bytes.buffer);
  });

  it.for([
    {
      name: "overlap",
      edits: [
        [0, 2],
        [1, 3],
      ],
    },
    {
      name: "stand in the wrong order",
      edits: [
        [2, 3],
        [0, 1],
      ],
    },
    { name: "lie outside", edits: [[3, 9]] },
  ])("throws when edits $name", ({ edits }) => {
    const bytes = encode("");
    expect(() =>
      spliceBytes(
        encode("abcd"),
        edits.map(([start, end]) => ({ start: start!, end: end!, bytes })),
      ),
    ).toThrow(RangeError);
  });
});

describe("insertMember", () => {
  it.for([
    { text: "{}", result: '{"x":1}' },
    { text: ' { "a":2}', result: ' {"x":1, "a":2}' },
  ])("adds a first member to $text", ({ text, result }) => {
    const scanned = scan(text);
    if (!scanned.ok) throw new Error("not scanned");
    const edit = insertMember(scanned, encode('"x":1'));
    expect(decode(spliceBytes(encode(text), [edit]))).toBe(result);
  });
});

describe("scanElements", () => {
  const elements = (text: string, elementsMax = 100) => {
    const bytes = encode(text);
    return scanElements(bytes, { depthMax: 3, elementsMax })?.map(({ start, end }) =>
      decode(bytes.subarray(start, end)),
    );
  };

  it("finds each element as it stands in the text", () => {
    expect(elements(' [ 1.0 ,"a,]", [ 2 , {"b":"}"} ],null ] ')).toEqual([
      "1.0",
      '"a,]"',
      '[ 2 , {"b":"}"} ]',
      "null",
    ]);
    expect(elements("[]")).toEqual([]);
  });

  it.for(["", "{}", "[1", "[1]x", "[,]", "[1,]", "[1 2]", "[[[[1]]]]", "[]]"])(
    "finds none in %j",
    (text) => {
      expect(elements(text)).toBeUndefined();
    },
  );

  it("takes as many elements as are allowed", () => {
    expect(elements("[1,2]", 2)).toEqual(["1", "2"]);
    expect(elements("[1,2,3]", 2)).toBeUndefined();
  });

  it("finds the elements of any array", () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue({ maxDepth: 1 })), (values) => {
        const texts = values.map((value) => JSON.stringify(value));
        expect(elements(`[${texts.join(" , ")}]`)).toEqual(texts);
      }),
    );
  });
});

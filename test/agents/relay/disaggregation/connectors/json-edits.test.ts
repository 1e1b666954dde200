import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  editMembers,
  readMember,
  readMembers,
  type MemberEdits,
} from "../../../../../src/agents/relay/disaggregation/connectors/json-edits.ts";

function edited(text: string, edits: MemberEdits): string | undefined {
  const bytes = editMembers(Buffer.from(text), edits);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

function texts(object: Uint8Array): [string, string][] {
  return [...readMembers(object)!].map(([key, value]) => [key, Buffer.from(value).toString()]);
}

describe("editMembers", () => {
  it.for([
    { text: "{}", edits: { a: "1" }, gives: '{"a":1}' },
    { text: ' { "b" : 2 } ', edits: { a: "1" }, gives: ' {"a":1, "b" : 2 } ' },
    { text: '{"a": 1 , "b":2}', edits: { a: "9" }, gives: '{"a": 9 , "b":2}' },
    { text: '{"a":1,"b":2}', edits: { a: undefined }, gives: '{"b":2}' },
    { text: '{"a":1, "b":2 }', edits: { b: undefined }, gives: '{"a":1 }' },
    { text: '{"a":1,"b":2,"c":3}', edits: { b: undefined }, gives: '{"a":1,"c":3}' },
    { text: '{"a":1,"b":2,"c":3}', edits: { a: undefined, b: undefined }, gives: '{"c":3}' },
    { text: '{"a":1,"b":2,"c":3}', edits: { b: undefined, c: undefined }, gives: '{"a":1}' },
    { text: '{"a":1,"b":2,"c":3}', edits: { a: undefined, c: undefined }, gives: '{"b":2}' },
    { text: '{"a":1, "b":2}', edits: { a: undefined, b: undefined }, gives: "{}" },
    { text: '{"a":1}', edits: { a: undefined, b: "2", c: '"x"' }, gives: '{"b":2,"c":"x"}' },
    { text: '{"a":1}', edits: { z: undefined }, gives: '{"a":1}' },
    { text: '{"o":{"x":1}}', edits: { o: { x: "2", y: "3" } }, gives: '{"o":{"y":3,"x":2}}' },
    { text: '{"o":null,"a":1}', edits: { o: { x: "2" } }, gives: '{"o":{"x":2},"a":1}' },
    { text: "{}", edits: { o: { x: "2", y: undefined } }, gives: '{"o":{"x":2}}' },
    { text: '{"o":[1]}', edits: { o: { x: "2" } }, gives: '{"o":[1]}' },
    { text: String.raw`{"\u0061":1}`, edits: { a: "2" }, gives: String.raw`{"\u0061":2}` },
    { text: '{"constructor":1}', edits: { a: "2" }, gives: '{"a":2,"constructor":1}' },
  ])("makes $gives of $text", ({ text, edits, gives }) => {
    expect(edited(text, edits as MemberEdits)).toBe(gives);
  });

  it.for(["", "[]", "null", '{"a":1', '{"a":1}x', '{"a":1,"a":2}', "{a:1}"])(
    "leaves %j alone",
    (text) => {
      expect(edited(text, { b: "1" })).toBeUndefined();
    },
  );

  it("leaves what it does not name as it was, byte for byte", () => {
    const untouched = '"n":12345678901234567890.10,"e":1E+2,"ü🗝":"\\u00fc\\ud83d","f":1.0';
    expect(edited(`{${untouched}}`, { a: "1", z: undefined })).toBe(`{"a":1,${untouched}}`);
  });
});

describe("editMembers of any object", () => {
  const keys = fc.oneof(fc.constantFrom("a", "b", "c", "d", "__proto__"), fc.string());
  const objects = fc.dictionary(keys, fc.jsonValue(), { noNullPrototype: true });
  const edits = fc.dictionary(
    fc.constantFrom("a", "b", "c", "d", "e"),
    fc.option(
      fc.jsonValue().map((value) => JSON.stringify(value)),
      { nil: undefined },
    ),
    { noNullPrototype: true },
  );
  const spaces = fc.constantFrom(undefined, 1, "\t");

  it("means what setting and deleting in the parsed object means", () => {
    fc.assert(
      fc.property(objects, edits, spaces, (object, changes, space) => {
        const expected = new Map(Object.entries(JSON.parse(JSON.stringify(object)) as object));
        for (const [key, value] of Object.entries(changes)) {
          if (value === undefined) expected.delete(key);
          else expected.set(key, JSON.parse(value));
        }
        const text = edited(JSON.stringify(object, undefined, space), changes)!;
        expect(new Map(Object.entries(JSON.parse(text) as object))).toEqual(expected);
      }),
    );
  });

  it("keeps each other value's bytes, in their order", () => {
    fc.assert(
      fc.property(objects, edits, spaces, (object, changes, space) => {
        const before = Buffer.from(JSON.stringify(object, undefined, space));
        const after = editMembers(before, changes)!;
        const kept = ([key]: readonly [string, unknown]) => !Object.hasOwn(changes, key);
        expect(texts(after).filter(kept)).toEqual(texts(before).filter(kept));
      }),
    );
  });
});

describe("readMember", () => {
  it("gives the bytes of a value", () => {
    const text = Buffer.from('{"x":1,"params":{"id":98765432109876543210, "h":"ü"} }');
    expect(Buffer.from(readMember(text, "params")!).toString()).toBe(
      '{"id":98765432109876543210, "h":"ü"}',
    );
  });

  it("finds nothing where there is none, or no object", () => {
    expect(readMember(Buffer.from('{"x":1}'), "y")).toBeUndefined();
    expect(readMember(Buffer.from("<html>"), "y")).toBeUndefined();
  });
});

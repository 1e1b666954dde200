import fc from "fast-check";
import { expect, it } from "vitest";
import {
  decodeModelName,
  ENCODED_MODEL_NAME_CHARS_MAX,
  encodeModelName,
} from "../../../src/agents/protocol/model-name.ts";

it("carries any name through a header and back", () => {
  const names = fc.string({ unit: "binary", minLength: 1, maxLength: 32 });
  fc.assert(
    fc.property(names, (name) => {
      const header = encodeModelName(name);
      expect(header).toMatch(/^[!-~]+$/);
      expect(decodeModelName(header)).toBe(name);
    }),
  );
});

it("holds the longest name, and nothing longer", () => {
  const longest = encodeModelName("語".repeat(256));
  expect(longest.length).toBe(ENCODED_MODEL_NAME_CHARS_MAX);
  expect(decodeModelName(longest)).toBe("語".repeat(256));
  expect(decodeModelName(`${longest}a`)).toBeUndefined();
});

it.for(["", "%", "%zz", "%ff"])("does not read %j", (header) => {
  expect(decodeModelName(header)).toBeUndefined();
});

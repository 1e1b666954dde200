import fc from "fast-check";
import { expect, it } from "vitest";
import {
  contentPayload,
  decodeContentHeader,
  encodeContentHeader,
  keyHex,
} from "../../../src/agents/protocol/content-header.ts";

const FACTS = {
  root: { low: 0x01234567, high: 0x89abcdef },
  lastKey: { low: 1, high: 0xffff_ffff },
};
const MAC = "ab".repeat(32);

// Worker and relay are deployed apart: a change of these texts breaks one of them.
it("is a text that stays as it is", () => {
  expect(encodeContentHeader(FACTS, MAC)).toBe(`89abcdef01234567.ffffffff00000001.${MAC}`);
  expect(contentPayload(FACTS, "cd")).toBe(
    "fairlead-content-v1\ncd\n89abcdef01234567\nffffffff00000001",
  );
});

it("is read as it was written", () => {
  const word = fc.nat(0xffff_ffff);
  const words = fc.record({ low: word, high: word });
  fc.assert(
    fc.property(words, words, (root, lastKey) => {
      const header = encodeContentHeader({ root, lastKey }, MAC);
      expect(decodeContentHeader(header)).toEqual({ root, lastKey, macHex: MAC });
      expect(keyHex(root)).toHaveLength(16);
    }),
  );
});

it.for([
  "",
  encodeContentHeader(FACTS, MAC.slice(1)),
  encodeContentHeader(FACTS, MAC).toUpperCase(),
  ` ${encodeContentHeader(FACTS, MAC)}`,
  `${encodeContentHeader(FACTS, MAC)}.00`,
])("%j is none", (text) => {
  expect(decodeContentHeader(text)).toBeUndefined();
});

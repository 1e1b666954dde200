import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BYTE_LETTERS } from "../../../../bench/content-alignment/vocabulary.ts";
import { decodeNames, namingOf } from "../../../../src/agents/relay/learning/token-names.ts";

/** A text's bytes, cut anywhere: also inside of characters. */
const cutText = fc
  .tuple(fc.string({ unit: "grapheme", maxLength: 60 }), fc.array(fc.nat(), { maxLength: 30 }))
  .map(([text, cuts]) => {
    const bytes = Buffer.from(`${text} and so on`);
    const ends = [...new Set([...cuts.map((cut) => cut % bytes.length), bytes.length])].toSorted(
      (a, b) => a - b,
    );
    return ends.filter((end) => end > 0).map((end, i, all) => bytes.subarray(all[i - 1] ?? 0, end));
  });

/** The text of each token. */
function decoded(names: readonly string[], naming: Naming): Buffer[] {
  const { text, tokenEnds } = decodeNames(names, naming);
  return Array.from(tokenEnds, (end, i) =>
    Buffer.from(text.subarray(i === 0 ? 0 : tokenEnds[i - 1], end)),
  );
}
type Naming = Parameters<typeof decodeNames>[1];

describe("names of tokens are the bytes they stand for", () => {
  it("byte-level", () => {
    fc.assert(
      fc.property(cutText, (parts) => {
        const names = parts.map((part) => Array.from(part, (byte) => BYTE_LETTERS[byte]).join(""));
        expect(decoded(names, "byte-level")).toEqual(parts);
      }),
    );
  });

  it("byte-level, with added tokens in letters of their own", () => {
    const marker = "<｜end▁of▁sentence｜>";
    expect(decoded(["aĠ", marker], "byte-level")).toEqual([Buffer.from("a "), Buffer.from(marker)]);
  });

  it("metaspace", () => {
    fc.assert(
      fc.property(cutText, (parts) => {
        const tokens = parts.flatMap((part) => {
          const text = part.toString();
          const isText = Buffer.from(text).equals(part) && !text.includes("\u2581");
          if (isText) return [{ part: part as Uint8Array, name: text.replaceAll(" ", "▁") }];
          return Array.from(part, (byte) => ({
            part: Uint8Array.of(byte),
            name: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
          }));
        });
        const names = tokens.map(({ name }) => name);
        const expected = tokens.map(({ part }) => Buffer.from(part));
        expect(decoded(names, "metaspace")).toEqual(expected);
      }),
    );
  });

  it("plain", () => {
    const names = ["Zürich ", "Ġ"];
    expect(decoded(names, "plain")).toEqual(names.map((name) => Buffer.from(name)));
  });
});

it.for([
  { names: ["<|im_start|>", "user", "Ċ", "Hello", "Ġworld", "Ġagain"], naming: "byte-level" },
  { names: ["<｜begin▁of▁sentence｜>", "You", "Ġare"], naming: "byte-level" },
  { names: ["<bos>", "<start_of_turn>", "user", "\n", "Hello", "▁world"], naming: "metaspace" },
  { names: ["Ġa", "Ġb", "▁"], naming: "byte-level" },
  { names: ["Hello ", "world ", "again"], naming: "plain" },
  { names: ["<|im_start|>", "Ġa", "Ġb", "  ", "\t "], naming: "byte-level" },
  { names: ["Ġenju", "▁Il", "▁Ġenju", "▁ta"], naming: "metaspace" },
])("$names are $naming", ({ names, naming }) => {
  expect(namingOf(names)).toBe(naming);
});

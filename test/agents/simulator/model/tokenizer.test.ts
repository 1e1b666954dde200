import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tokenIds, tokenize } from "../../../../src/agents/simulator/model/tokenizer.ts";

const VECTORS: Record<string, { pieces: string[]; ids: number[] }> = JSON.parse(
  readFileSync("test/fixtures/simulator-vectors.json", "utf8"),
).tokens;

const ANY = fc.constantFrom(
  "a",
  "Z",
  "_",
  "9",
  " ",
  ".",
  "`",
  "\n",
  "\t",
  "\u00a0",
  "你",
  "🚀",
  "\ud800",
);

describe("tokenize", () => {
  it.for(Object.entries(VECTORS))("splits %j as llm-d-inference-sim does", ([text, expected]) => {
    const tokens = tokenize(text);
    expect(tokens.map((token) => token.text)).toEqual(expected.pieces);
    expect([...tokenIds(tokens)]).toEqual(expected.ids);
  });

  it("makes a token of every character it has no rule for", () => {
    expect(tokenize("你好 `x`").map((token) => token.text)).toEqual(["你", "好 ", "`", "x", "`"]);
    expect(tokenize("你")[0]!.id).not.toBe(tokenize("好")[0]!.id);
  });

  it("loses nothing but leading blanks", () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY }), (text) => {
        const joined = tokenize(text)
          .map((token) => token.text)
          .join("");
        expect(joined).toBe(text.replace(/^[\t\n\f\r ]+/, ""));
      }),
    );
  });

  it("survives lone surrogates", () => {
    expect(tokenize("\ud800a")).toHaveLength(2);
  });
});

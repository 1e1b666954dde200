import { array, assert, constantFrom, integer, nat, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { findUnnamed } from "../../../../src/agents/relay/learning/unnamed-tokens.ts";

/** Tokens of a text, of which those in brackets are not known. */
function find(tokens: readonly string[], canonical: string) {
  const known = tokens.map((token) => (token.startsWith("[") ? undefined : Buffer.from(token)));
  const found = findUnnamed(Buffer.from(canonical), tokens.length, (place) => known[place]);
  if (found === undefined) return undefined;
  return Object.fromEntries([...found].map(([at, text]) => [at, Buffer.from(text).toString()]));
}

describe("tokens that were never named", () => {
  it("are what stands between their neighbours", () => {
    const tokens = ["<start>", "the ", "quick ", "brown", "[?]", " jumps", " over"];
    expect(find(tokens, "role:the quick brown vixen jumps over")).toEqual({ 4: " vixen" });
  });

  it("have equal shares of what several in a row are", () => {
    const tokens = ["the ", "quick ", "brown", "[?]", "[?]", " jumps", " over"];
    expect(find(tokens, "the quick brown wolverine jumps over")).toEqual({
      3: " wolv",
      4: "erine",
    });
    const near = ["the ", "quick ", "brown", "[?]", " a ", "[?]", " jumps", " over"];
    expect(find(near, "the quick brown is a cat jumps over")).toEqual({ 3: " is", 5: "cat" });
  });

  it("are looked for where their neighbours stand, and not where they stand first", () => {
    const line = "one and two and three: ";
    const tokens = [
      ...line.split(/(?<= )/u),
      "seven ",
      ...line.split(/(?<= )/u),
      "[?]",
      " end of it",
    ];
    const canonical = `${line}seven ${line}eight end of it`;
    expect(find(tokens, canonical)).toEqual({ 11: "eight" });
  });

  it.for([
    {
      name: "the prompt was written anew",
      tokens: ["the quick brown", "[?]", " jumps over"],
      canonical: "another text",
    },
    {
      name: "nothing stands between",
      tokens: ["the quick brown", "[?]", " jumps over"],
      canonical: "the quick brown jumps over",
    },
    {
      name: "too little stands before them",
      tokens: ["the ", "[?]", " jumps over"],
      canonical: "see the cat jumps over",
    },
    {
      name: "nothing stands behind them",
      tokens: ["the quick brown", "[?]"],
      canonical: "the quick brown fox",
    },
    {
      name: "they would be too long",
      tokens: ["the quick brown", "[?]", " jumps over"],
      canonical: `the quick brown ${"x".repeat(64)} jumps over`,
    },
  ])("are not found where $name", ({ tokens, canonical }) => {
    expect(find(tokens, canonical)).toBeUndefined();
  });

  it("are found in a few places of a prompt, not in many", () => {
    const prompt = (count: number) => {
      const words = Array.from({ length: count }, (_, i) => [
        "a part of it: ",
        `[${i}]`,
        ` and then ${i}, `,
      ]);
      return find(
        words.flat(),
        words
          .flat()
          .map((word) => word.replace(/\[|\]/gu, ""))
          .join(""),
      );
    };
    expect(Object.keys(prompt(256) ?? {})).toHaveLength(256);
    expect(prompt(257)).toBeUndefined();
  });

  it("are never outside of the prompt, nor as long as another", () => {
    const piece = string({ minLength: 1, maxLength: 9, unit: constantFrom("a", "b", " ", "é") });
    assert(
      property(
        array(piece, { maxLength: 40 }),
        array(nat(40), { maxLength: 5 }),
        integer({ min: 0, max: 3 }),
        (pieces, unknown, cut) => {
          const texts = pieces.map((text) => Buffer.from(text));
          const canonical = Buffer.from(pieces.slice(cut).join(""));
          const found = findUnnamed(canonical, texts.length, (place) =>
            unknown.includes(place) ? undefined : texts[place],
          );
          for (const [place, text] of found ?? []) {
            expect(unknown).toContain(place);
            expect(text.length).toBeGreaterThan(0);
            expect(text.length).toBeLessThanOrEqual(256);
            expect(canonical.includes(Buffer.from(text))).toBe(true);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

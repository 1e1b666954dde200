import { describe, expect, it } from "vitest";
import {
  PROMPTS_PER_CHECK,
  TOKEN_TEXTS_LIMITS,
  TokenTexts,
} from "../../../../src/agents/relay/learning/token-texts.ts";

const NAMES = ["The", "Ġquick", "Ċ", "Ã", "©", "Ġfox", "quick"];
const NONE = new Uint8Array();
const ids = (...values: number[]) => Uint32Array.from(values);
const ALL = ids(0, 1, 2, 3, 4, 5, 6);
const textOf = (texts: TokenTexts, ...values: number[]) => {
  const read = texts.read(ids(...values), NONE);
  return read === undefined ? undefined : Buffer.from(read.text).toString("utf8");
};

describe("TokenTexts", () => {
  it("reads a prompt whose tokens were all named before, to the byte", () => {
    const texts = new TokenTexts();
    const named = texts.learn(ALL, NAMES, NONE);
    expect(texts.read(ALL, NONE)).toEqual(named);
    expect(textOf(texts, 6, 3, 4, 5)).toBe("quické fox");
    expect(texts.read(ids(3, 4), NONE)?.tokenEnds).toEqual(ids(1, 2));
    expect(textOf(texts, 0, 7)).toBeUndefined();
  });

  it("leaves out what need not be known", () => {
    const texts = new TokenTexts();
    texts.learn(ALL, NAMES, NONE);
    const read = texts.read(ids(0, 99, 99, 5), NONE, Uint8Array.of(1, 0, 0, 1));
    expect(Buffer.from(read!.text).toString()).toBe("The fox");
    expect(read!.tokenEnds).toEqual(ids(3, 3, 3, 7));
  });

  it("reads tokens that were never named from the prompt, and keeps nothing of them", () => {
    const texts = new TokenTexts();
    texts.learn(ALL, NAMES, NONE);
    const canonical = Buffer.from("said: The quick brown fox quickquick");
    const prompt = ids(0, 1, 77, 5, 99, 6, 6);
    expect(texts.read(prompt, NONE)).toBeUndefined();
    const found = texts.read(
      ids(0, 1, 77, 5, 1, 1),
      Buffer.from("The quick brown fox quick quick"),
    );
    expect(Buffer.from(found!.text).toString()).toBe("The quick brown fox quick quick");
    expect(found!.tokenEnds).toEqual(ids(3, 9, 15, 19, 25, 31));
    expect(texts.read(prompt, canonical)).toBeUndefined();
    expect(textOf(texts, 77)).toBeUndefined();
  });

  it("wants names until most prompts are known, and again when they are not", () => {
    const texts = new TokenTexts();
    let asked = 0;
    for (; texts.areNamesWanted; asked++) texts.learn(ALL, NAMES, NONE);
    expect(asked).toBeGreaterThan(5);
    expect(asked).toBeLessThan(20);
    for (let i = 0; !texts.areNamesWanted; i++) texts.read(ids(1_000 + i), NONE);
    expect(texts.areNamesWanted).toBe(true);
  });

  it("wants names now and then, to see that they are the same", () => {
    const texts = new TokenTexts();
    while (texts.areNamesWanted) texts.learn(ALL, NAMES, NONE);
    for (let i = 0; i < PROMPTS_PER_CHECK - 1; i++) texts.read(ALL, NONE);
    expect(texts.areNamesWanted).toBe(false);
    texts.read(ALL, NONE);
    expect(texts.areNamesWanted).toBe(true);
    texts.learn(ALL, NAMES, NONE);
    expect(texts.areNamesWanted).toBe(false);
  });

  it("forgets everything when a name is another, or names are written otherwise", () => {
    const texts = new TokenTexts();
    texts.learn(ALL, NAMES, NONE);
    texts.learn(ids(0), ["Thee"], NONE);
    expect(textOf(texts, 0)).toBe("Thee");
    expect(textOf(texts, 1)).toBeUndefined();
    texts.learn(ids(1, 2), ["▁a", "▁b"], NONE);
    expect(textOf(texts, 0)).toBeUndefined();
    expect(textOf(texts, 1, 2)).toBe(" a b");
    // Without blanks they tell nothing of how they are written.
    texts.learn(ids(3), ["<0x0A>"], NONE);
    expect(textOf(texts, 1, 3)).toBe(" a\n");
  });

  it("keeps no more tokens and bytes than a vocabulary has", () => {
    const texts = new TokenTexts();
    const { tokensMax, bytesMax, tokenBytesMax } = TOKEN_TEXTS_LIMITS;
    const many = Uint32Array.from({ length: tokensMax }, (_, i) => i);
    const names = Array.from(many, () => "x");
    texts.learn(many, names, NONE);
    expect(texts.size).toBe(tokensMax);
    texts.learn(ids(tokensMax), ["y"], NONE);
    expect(texts.size).toBe(1);
    texts.learn(ids(1), ["y".repeat(tokenBytesMax + 1)], NONE);
    expect(textOf(texts, 1)).toBeUndefined();
    const long = "z".repeat(tokenBytesMax);
    for (let i = 2; i < 2 + bytesMax / tokenBytesMax; i++) texts.learn(ids(i), [long], NONE);
    expect(texts.byteLength).toBeLessThanOrEqual(bytesMax);
    expect(texts.size).toBeLessThan(bytesMax / tokenBytesMax);
  });
});

import { beforeAll, describe, expect, it } from "vitest";
import { CASES } from "../../../../bench/content-alignment/conversations.ts";
import { evaluate } from "../../../../bench/content-alignment/evaluate.ts";
import { Model } from "../../../../bench/content-alignment/prompts.ts";
import { TEMPLATES } from "../../../../bench/content-alignment/templates.ts";
import {
  smallVocabularies,
  type Vocabulary,
} from "../../../../bench/content-alignment/vocabularies.ts";
import { CONTENT_BLOCK_BYTES } from "../../../../src/scheduler/kv/content-keys.ts";
import {
  alignContent,
  type RenderedPrompt,
} from "../../../../src/scheduler/kv/residency/content-alignment.ts";

const encoder = new TextEncoder();

/** Words that name their place: no text is in another by chance. */
const words = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${name}${i} `).join("");

/** Pieces of a canonical prompt: a boundary, a kind, a text. */
function canonical(pieces: readonly (readonly [kind: string, text: string])[]): Uint8Array {
  const parts = pieces.map(([kind, text]) => [0xff, ...encoder.encode(`${kind}:${text}`)]);
  return Uint8Array.from(parts.flat());
}

/** A prompt with a token for each word, and the space behind it. */
function rendered(text: string): RenderedPrompt {
  const tokenEnds: number[] = [];
  let end = 0;
  for (const [word] of text.matchAll(/\S+\s*/gu)) {
    end += encoder.encode(word).length;
    tokenEnds.push(end);
  }
  return { text: encoder.encode(text), tokenEnds: Uint32Array.from(tokenEnds) };
}

/** The word in which, or behind which, each block's tokens end. */
function lastWords(content: Uint8Array, prompt: RenderedPrompt): string[] {
  const text = new TextDecoder().decode(prompt.text);
  const tokens = [...text.matchAll(/\S+/gu)].map(([word]) => word);
  return [...alignContent(content, prompt).tokenCounts].map((count) => tokens[count - 1] ?? "");
}

/** The last word but one that a block has with what follows it: more may join the last. */
function wordBefore(content: Uint8Array, block: number): string {
  const text = Array.from(content.subarray(0, (block + 1) * CONTENT_BLOCK_BYTES), (byte) =>
    String.fromCharCode(byte),
  ).join("");
  return /(\S+) \S+ \S*$/u.exec(text.trimEnd())![1]!.replace(/^.*:/u, "");
}

describe("alignContent", () => {
  it("ends a block with the last tokens that are wholly in it", () => {
    const system = words("sys", 90);
    const user = words("usr", 90);
    const content = canonical([
      ["role", "system"],
      ["text", system],
      ["role", "user"],
      ["text", user],
    ]);
    const prompt = rendered(`<s> system\n${system}</s>\n<s> user\n${user.trim()} </s>`);
    const found = lastWords(content, prompt);
    expect(found).toHaveLength(4);
    for (const block of [0, 1, 3]) expect(found[block]).toBe(wordBefore(content, block));
  });

  it("settles nothing behind the first letter of later content, wherever templates put it", () => {
    const tools = JSON.stringify([{ name: words("tool", 80) }]);
    const content = canonical([
      ["tools", tools],
      ["role", "system"],
      ["text", words("sys", 60)],
      ["role", "user"],
      ["text", words("usr", 60)],
    ]);
    const text = `<s> system ${words("sys", 60)} [ ${tools} ] </s> <s> user ${words("usr", 60)}`;
    const { tokenCounts } = alignContent(content, rendered(text));
    // The blocks of the tools have only what stands before the system's text.
    expect([...tokenCounts.subarray(0, 2)]).toEqual([0, 0]);
    expect(tokenCounts.at(-1)).toBeGreaterThan(140);
  });

  it("finds tools that were written anew, with other whitespace", () => {
    const tools = [{ name: words("tool", 80), parameters: { type: "object", required: ["a"] } }];
    const content = canonical([
      ["tools", JSON.stringify(tools)],
      ["text", words("usr", 40)],
    ]);
    const prompt = rendered(`<s> ${JSON.stringify(tools, null, 4)} </s> ${words("usr", 40)}`);
    expect(alignContent(content, prompt).foundBlocks).toBe(Math.floor(content.length / 256));
  });

  it("settles no token of a media item before its address ends", () => {
    const content = canonical([
      ["text", words("before", 20)],
      ["part", `{"url":"https://images.example/${"x".repeat(600)}"}`],
      ["text", words("after", 40)],
    ]);
    const media = "<image> ".repeat(300);
    const prompt = rendered(`${words("before", 20)}${media}${words("after", 40)}`);
    const { tokenCounts } = alignContent(content, prompt);
    expect([...tokenCounts.subarray(0, 3)].every((count) => count <= 20)).toBe(true);
    expect(tokenCounts.at(-1)).toBeGreaterThan(320);
  });

  it("finds what is left of a text that a template cut", () => {
    const thought = `<think> ${words("thought", 60)}</think> `;
    const content = canonical([
      ["text", words("usr", 40)],
      ["text", thought + words("answer", 120)],
      ["text", words("next", 40)],
    ]);
    const prompt = rendered(`${words("usr", 40)}</s> ${words("answer", 120)}${words("next", 40)}`);
    const found = lastWords(content, prompt);
    const blocks = found
      .map((_, block) => block)
      .filter((block) => {
        return wordBefore(content, block).startsWith("answer");
      });
    expect(blocks.length).toBeGreaterThan(2);
    for (const block of blocks) expect(found[block]).toBe(wordBefore(content, block));
  });

  it("goes by the bytes where nothing is found", () => {
    const content = canonical([["text", words("said", 200)]]);
    const { tokenCounts, foundBlocks } = alignContent(content, rendered(words("heard", 100)));
    expect(foundBlocks).toBe(0);
    const middle = tokenCounts[Math.floor(tokenCounts.length / 2)]!;
    expect(middle).toBeGreaterThan(35);
    expect(middle).toBeLessThan(65);
  });

  it("has no blocks for a prompt shorter than one", () => {
    expect(alignContent(canonical([["text", "hello"]]), rendered("hello")).tokenCounts).toEqual(
      new Uint32Array(),
    );
  });
});

// Real tokenizers and templates: the figures of docs/decisions/029 with fewer pairs.
describe("alignContent of generated conversations", () => {
  let vocabularies: Vocabulary[];
  beforeAll(() => {
    vocabularies = smallVocabularies();
  }, 60_000);

  it.for(TEMPLATES)(
    "is exact to a block of 16 tokens: $name",
    { timeout: 60_000 },
    async (template) => {
      const wrong: string[] = [];
      for (const { name, tokenizer } of vocabularies) {
        const model = new Model(tokenizer, template);
        for (const kind of CASES) {
          if (!template.hasTools && kind.startsWith("tool")) continue;
          const { aligned } = (await evaluate(model, kind, 4)).errors;
          // Thoughts that a template drops leave the end of an answer's block between neighbours.
          const underMax = kind === "reasoning" ? 3 : 1;
          const [over, under] = [Math.max(...aligned.over), Math.max(...aligned.under)];
          if (over > 0 || under > underMax) wrong.push(`${name}, ${kind}: +${over}, -${under}`);
        }
      }
      expect(wrong).toEqual([]);
    },
  );
});

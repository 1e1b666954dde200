import { expect, it } from "vitest";
import {
  type ChatTurn,
  PLACEHOLDER_COUNT,
  renderChat,
} from "../../../../src/agents/simulator/model/prompt.ts";
import { tokenize } from "../../../../src/agents/simulator/model/tokenizer.ts";

const image = (source: string) => ({ modality: "image" as const, source });

const render = (turns: readonly ChatTurn[], tools = "", isAnswerBegun = false) =>
  renderChat({ turns, tools, isAnswerBegun });

function texts(...args: Parameters<typeof render>) {
  return render(...args)
    .tokens.map(({ text }) => text)
    .join("");
}

it("puts every turn on its line, and tools before them", () => {
  const turns = [
    { role: "system", parts: ["Be kind."] },
    { role: "user", parts: ["Hello", "world"] },
  ];
  expect(texts(turns)).toBe("### system: Be kind.\n### user: Hello\nworld\n");
  expect(texts(turns, '[{"a":1}]')).toBe(`### tools: [{"a":1}]\n${texts(turns)}`);
  expect(render(turns).tokens).toEqual(tokenize(texts(turns)));
});

it("begins the answer's turn as the next one has it", () => {
  const asked = [{ role: "user", parts: ["Hello"] }];
  const answered = [...asked, { role: "assistant", parts: ["Good day"] }];
  expect(`${texts(asked, "", true)}Good day\n`).toBe(texts(answered));
});

it("gives a picture placeholders, whose identifier alone tells what it shows", () => {
  const turn = (source: string) => [{ role: "user", parts: ["See", image(source), "Well?"] }];
  const [cat, dog] = [render(turn("cat.png")), render(turn("dog.png"))];
  expect(cat.tokens).toEqual(dog.tokens);
  const [item] = cat.items;
  expect(item).toMatchObject({ modality: "image", length: PLACEHOLDER_COUNT });
  expect(item!.identifier).not.toBe(dog.items[0]!.identifier);
  expect(item!.identifier).toBe(render(turn("cat.png")).items[0]!.identifier);
  const { offset } = item!;
  const isPlaceholder = cat.tokens.map(({ text }) => text === "<|image|>");
  expect(isPlaceholder.indexOf(true)).toBe(offset);
  expect(isPlaceholder.filter(Boolean)).toHaveLength(PLACEHOLDER_COUNT);
  expect(cat.tokens[offset - 1]!.text).toBe("See\n");
});

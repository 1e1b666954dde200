import { describe, expect, it } from "vitest";
import { readPrompt } from "../../../../src/agents/relay/learning/read-prompt.ts";

const CHAT = "/v1/chat/completions";
const read = (path: string, body: object) => readPrompt(path, Buffer.from(JSON.stringify(body)));

describe("what an engine is asked for of a chat", () => {
  const messages = [{ role: "user", content: "Hi" }];

  it("is everything that its template sees, and nothing else", async () => {
    const prompt = await read(CHAT, {
      model: "m",
      messages,
      tools: [{ type: "function" }],
      add_generation_prompt: false,
      continue_final_message: true,
      add_special_tokens: true,
      chat_template: "{{ x }}",
      chat_template_kwargs: { enable_thinking: false },
      documents: [{ text: "d" }],
      reasoning_effort: "low",
      temperature: 0.5,
      stream: true,
      cache_salt: "s",
    });
    expect(prompt).toMatchObject({ model: "m", cacheSalt: "s" });
    expect(prompt?.tokens).toEqual({
      kind: "ask",
      body: {
        model: "m",
        messages,
        tools: [{ type: "function" }],
        add_generation_prompt: false,
        continue_final_message: true,
        add_special_tokens: true,
        chat_template: "{{ x }}",
        chat_template_kwargs: {
          enable_thinking: false,
          documents: [{ text: "d" }],
          reasoning_effort: "low",
        },
      },
    });
  });

  it("has nothing that the chat has not, and no null", async () => {
    const prompt = await read(CHAT, { model: "m", messages, tools: null, chat_template: null });
    const body = { model: "m", messages };
    expect(prompt?.tokens).toEqual({ kind: "ask", body });
  });

  it("ends before the first picture, which engines would fetch", async () => {
    const picture = { type: "image_url", image_url: { url: "https://a/1.png" } };
    const prompt = await read(CHAT, {
      model: "m",
      messages: [...messages, { role: "user", content: [picture] }, ...messages],
    });
    const textual = await read(CHAT, { model: "m", messages });
    expect(prompt?.tokens).toEqual({
      kind: "ask",
      body: {
        model: "m",
        messages,
        add_generation_prompt: false,
        continue_final_message: false,
      },
    });
    expect(prompt?.learnableBytes).toBe(textual!.canonical.byteLength);
  });

  it("is the whole chat where it is rendered with its media, and answers nobody", async () => {
    const picture = { type: "image_url", image_url: { url: "https://a/1.png", detail: "low" } };
    const body = { model: "m", messages: [{ role: "user", content: [picture] }], top_k: 4 };
    const prompt = await read(CHAT, { ...body, stream: true, stream_options: {} });
    const messages = [{ role: "user", content: [] }];
    expect(prompt?.rendering).toEqual({
      whole: { ...body, stream: false },
      text: { model: "m", messages },
    });
    const plain = await read(CHAT, { model: "m", messages });
    expect(plain?.rendering).toBeNull();
  });

  it("is nothing where a picture stands before tools: these come in later", async () => {
    const picture = { type: "image_url", image_url: { url: "https://a/1.png" } };
    const prompt = await read(CHAT, {
      model: "m",
      tools: [{ type: "function" }],
      messages: [
        { role: "system", content: "Look." },
        { role: "system", content: [picture] },
        ...messages,
      ],
    });
    expect(prompt?.learnableBytes).toBe(0);
  });
});

it.for([
  { prompt: "abc", tokens: { kind: "ask", body: { prompt: "abc" } } },
  { prompt: ["abc", "d"], tokens: { kind: "ask", body: { prompt: "abc" } } },
  { prompt: [12, 3], tokens: { kind: "given", ids: [12, 3] } },
  { prompt: [[12], [3]], tokens: { kind: "given", ids: [12] } },
])("of a completion's $prompt the first prompt counts", async ({ prompt, tokens }) => {
  const completion = await read("/v1/completions", { model: "m", prompt });
  expect(completion?.tokens).toMatchObject(tokens);
});

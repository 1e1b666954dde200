import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  MEDIA_CHARS_MAX,
  writeChatPrompt,
  writeCompletionPrompt,
} from "../../../../src/scheduler/kv/canonical/canonical-prompt.ts";
import { parseChatRequest, parseCompletionRequest } from "../../../../src/worker/openai/schemas.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

async function chatPrompt(fields: Readonly<Record<string, unknown>>): Promise<string> {
  const parsed = parseChatRequest({ model: "m", ...fields });
  if (!parsed.ok) throw new Error(parsed.error.message);
  let text = "";
  await writeChatPrompt(parsed.value, (piece) => (text += piece), sha256);
  return text;
}

function completionPrompt(prompt: unknown) {
  const parsed = parseCompletionRequest({ model: "m", prompt });
  if (!parsed.ok) throw new Error(parsed.error.message);
  let text = "";
  const counts = writeCompletionPrompt(parsed.value.prompt, (piece) => (text += piece));
  return { text, ...counts };
}

const user = (content: unknown) => ({ messages: [{ role: "user", content }] });

describe("a conversation", () => {
  it("is its pieces in order, each behind a boundary that no prompt contains", async () => {
    const text = await chatPrompt({
      tools: [{ type: "function", function: { name: "f" } }],
      messages: [
        { role: "system", content: "Be brief." },
        { role: "assistant", name: "a", content: null, tool_calls: [{ id: "1" }] },
        { role: "tool", tool_call_id: "1", content: "42" },
      ],
    });
    expect(text.split("\ud800")).toEqual([
      "",
      "role:system",
      "text:Be brief.",
      'tools:[{"type":"function","function":{"name":"f"}}]',
      "role:assistant",
      "name:a",
      'tool_calls:[{"id":"1"}]',
      "role:tool",
      "tool_call_id:1",
      "text:42",
    ]);
  });

  it.for([
    { roles: ["system", "developer", "user", "system"], at: 2 },
    { roles: ["user", "system"], at: 0 },
    { roles: ["system"], at: 1 },
  ])("of $roles has its tools behind $at messages", async ({ roles, at }) => {
    const messages = roles.map((role) => ({ role, content: "x" }));
    const text = await chatPrompt({ tools: [{ type: "function" }], messages });
    const kinds = text.split("\ud800").map((piece) => piece.split(":", 1)[0]);
    expect(kinds.filter((kind) => kind !== "text").indexOf("tools")).toBe(at + 1);
  });

  it("names media alike, whatever the order of a part's members", async () => {
    const image = { type: "image_url", image_url: { url: "https://a/1.png" } };
    const { type, ...rest } = image;
    expect(await chatPrompt(user([{ ...rest, type }]))).toBe(await chatPrompt(user([image])));
  });

  it("begins alike when it goes on", async () => {
    const messages = [{ role: "user", content: "Hi" }];
    const first = await chatPrompt({ messages });
    const second = await chatPrompt({
      messages: [...messages, { role: "user", content: "Well?" }],
    });
    expect(second.startsWith(first)).toBe(true);
  });

  it("is the same with text as a string and as a part", async () => {
    expect(await chatPrompt(user([{ type: "text", text: "Hi" }]))).toBe(
      await chatPrompt(user("Hi")),
    );
  });

  it.for([
    { name: "a role", a: user("Hi"), b: { messages: [{ role: "system", content: "Hi" }] } },
    {
      name: "where a message ends",
      a: {
        messages: [
          { role: "user", content: "ab" },
          { role: "user", content: "c" },
        ],
      },
      b: {
        messages: [
          { role: "user", content: "a" },
          { role: "user", content: "bc" },
        ],
      },
    },
    { name: "text that looks like a role", a: user("x"), b: user("role:user") },
    { name: "tools", a: user("Hi"), b: { ...user("Hi"), tools: [{ type: "function" }] } },
    { name: "a chat template", a: user("Hi"), b: { ...user("Hi"), chat_template: "{{ x }}" } },
    {
      name: "an image's URL",
      a: user([{ type: "image_url", image_url: { url: "https://a/1.png" } }]),
      b: user([{ type: "image_url", image_url: { url: "https://a/2.png" } }]),
    },
    {
      name: "the end of a long data URL",
      a: user([{ type: "input_audio", input_audio: { data: "A".repeat(5_000) + "1" } }]),
      b: user([{ type: "input_audio", input_audio: { data: "A".repeat(5_000) + "2" } }]),
    },
  ])("differs with $name", async ({ a, b }) => {
    expect(await chatPrompt(a)).not.toBe(await chatPrompt(b));
  });

  it("is the same for everything that shapes only the answer", async () => {
    const plain = await chatPrompt(user("Hi"));
    const shaped = {
      temperature: 0,
      max_tokens: 5,
      stream: true,
      response_format: { type: "json" },
    };
    expect(await chatPrompt({ ...user("Hi"), ...shaped })).toBe(plain);
  });

  it("holds a hash in place of long media", async () => {
    const data = "A".repeat(MEDIA_CHARS_MAX);
    const text = await chatPrompt(user([{ type: "input_audio", input_audio: { data } }]));
    expect(text).toMatch(/part:[0-9a-f]{64}$/);
  });
});

describe("a completion's prompt", () => {
  it.for([
    { prompt: "", text: "", prompts: 1, tokenIds: 0, chars: 0 },
    { prompt: "abc", text: "abc", prompts: 1, tokenIds: 0, chars: 3 },
    { prompt: ["ab", "cde"], text: "ab", prompts: 2, tokenIds: 0, chars: 5 },
    { prompt: [12, 3], text: "12,3", prompts: 1, tokenIds: 2, chars: 0 },
    { prompt: [[1, 2], [3]], text: "1,2", prompts: 2, tokenIds: 3, chars: 0 },
  ])("$prompt is written as $text", ({ prompt, ...expected }) => {
    expect(completionPrompt(prompt)).toEqual(expected);
  });
});

import { describe, expect, it } from "vitest";
import { readConversation } from "../../../../src/agents/relay/learning/read-conversation.ts";
import { contentOf } from "../../support/content.ts";

const CHAT = "/v1/chat/completions";
const TEXT = "/v1/completions";
const MODEL = "m";

const bytes = (value: object) => Buffer.from(JSON.stringify(value));
const answer = (choice: object) =>
  bytes({ choices: [{ index: 0, finish_reason: "stop", ...choice }] });
const saying = (content: string) => answer({ message: { content } });
const user = { role: "user", content: "What is it?" };
const system = { role: "system", content: "Be brief." };
const tools = [{ type: "function", function: { name: "find" } }];
const call = { id: "c1", type: "function", function: { name: "find", arguments: '{"a":1}' } };
const calling = (content: string | null = null) =>
  answer({ message: { content, tool_calls: [call] } });

async function read(path: string, body: object, said: Buffer) {
  const conversation = await readConversation(path, bytes({ model: MODEL, ...body }), said);
  if (!conversation.ok) throw new Error(conversation.why);
  const { prompt, promptBytes, contentBytes } = conversation;
  const text = (from: number, to?: number) =>
    Buffer.from(prompt.canonical.subarray(from, to)).toString("latin1");
  return { prompt, promptBytes, contentBytes, text, asked: prompt.tokens };
}

describe("a chat", () => {
  it.for([
    { name: "plain", body: { messages: [user] } },
    { name: "with tools", body: { messages: [system, user], tools } },
    { name: "of a system message alone", body: { messages: [system], tools } },
    { name: "with a template's arguments", body: { messages: [user], reasoning_effort: "low" } },
  ])("$name goes on as the next turn will have it", async ({ body }) => {
    const { prompt, promptBytes, contentBytes } = await read(CHAT, body, saying("A lamp."));
    const before = await contentOf({ model: MODEL, ...body });
    const said = { role: "assistant", content: "A lamp." };
    const after = await contentOf({ model: MODEL, ...body, messages: [...body.messages, said] });
    expect(promptBytes).toBe(before.canonical.length);
    expect(contentBytes).toBe(after.canonical.length);
    expect(Buffer.from(prompt.canonical.subarray(0, contentBytes))).toEqual(after.canonical);
    expect(prompt.canonical.length).toBeGreaterThan(contentBytes);
  });

  it("is asked for with somebody's next word, and no answer begun", async () => {
    const { asked, text, contentBytes } = await read(CHAT, { messages: [user] }, saying("A lamp."));
    expect(asked).toMatchObject({
      kind: "ask",
      body: {
        add_generation_prompt: false,
        continue_final_message: false,
        messages: [user, { role: "assistant", content: "A lamp." }, { role: "user" }],
      },
    });
    expect(text(contentBytes)).toMatch(/^.role:user.text:/u);
  });

  it("that calls tools goes on with a result of each call", async () => {
    const { asked, contentBytes, text } = await read(CHAT, { messages: [user] }, calling());
    const { messages } = (asked as unknown as { body: { messages: object[] } }).body;
    expect(messages.slice(1)).toMatchObject([
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: "c1" },
    ]);
    expect(text(0, contentBytes)).toContain(JSON.stringify([call]));
  });

  it.for([
    { content: "", written: true },
    { content: null, written: false },
    { content: "Let me see.", written: false },
  ])("has calls as this client writes them, after $content", async ({ content, written }) => {
    const { id, type, function: called } = call;
    const { name, arguments: given } = called;
    const theirs = { id, function: { arguments: given, name }, type };
    const earlier = [
      { role: "assistant", content, tool_calls: [{ ...theirs, id: "c0" }] },
      { role: "tool", tool_call_id: "c0", content: "5" },
    ];
    const body = { messages: [user, ...earlier] };
    const { promptBytes, contentBytes, text } = await read(CHAT, body, calling());
    const added = text(promptBytes, contentBytes);
    expect(added).toContain(JSON.stringify([theirs]));
    expect(added.includes("text:")).toBe(written);
  });

  it("has what was said beside a call", async () => {
    const body = { messages: [user] };
    const { promptBytes, contentBytes, text } = await read(CHAT, body, calling("Let me see."));
    expect(text(promptBytes, contentBytes)).toContain("text:Let me see.");
  });
});

it("a completion's text goes on", async () => {
  const { prompt, promptBytes, contentBytes, asked } = await read(
    TEXT,
    { prompt: "Once é" },
    answer({ text: " upon" }),
  );
  expect(Buffer.from(prompt.canonical).toString()).toBe("Once é upon");
  expect([promptBytes, contentBytes]).toEqual([7, 12]);
  expect(asked).toEqual({ kind: "ask", body: { model: MODEL, prompt: "Once é upon" } });
});

const picture = { type: "image_url", image_url: { url: "https://a/1.png" } };
it.for([
  { path: CHAT, body: { messages: [user], n: 2 }, why: "unfit" },
  { path: CHAT, body: { messages: [user], continue_final_message: true }, why: "unfit" },
  { path: CHAT, body: { messages: [{ role: "user", content: [picture] }] }, why: "media" },
  { path: CHAT, body: { messages: [] }, why: "unreadable" },
  { path: TEXT, body: { prompt: "a", best_of: 3 }, why: "unfit" },
  { path: TEXT, body: { prompt: "a", echo: true }, why: "unfit" },
  { path: TEXT, body: { prompt: [1, 2] }, why: "unfit" },
])("of $body nothing is learned: $why", async ({ path, body, why }) => {
  const said = answer({ message: { content: "A lamp." }, text: "A lamp." });
  const conversation = await readConversation(path, bytes({ model: MODEL, ...body }), said);
  expect(conversation).toEqual({ ok: false, why });
});

it("an answer that is none is unreadable", async () => {
  const body = bytes({ model: MODEL, messages: [user] });
  expect(await readConversation(CHAT, body, bytes({}))).toEqual({ ok: false, why: "unreadable" });
});

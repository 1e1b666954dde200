// What engines answered is in their caches, too: the next turn of a conversation is predicted with it, before it has been
// served once.

import { afterAll, beforeAll, expect, it } from "vitest";
import { judge, tokenCountsOf } from "../../bench/kv-accuracy/judge.ts";
import { KvStack, MODEL } from "./kv-stack.ts";

/** A canary: nothing but keys may leave the relay. */
const WORD = "bollard";
const ANSWER_TOKENS = 300;

interface Message {
  readonly role: string;
  readonly content: string | null;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
}

let stack: KvStack;
beforeAll(async () => {
  stack = await KvStack.start();
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const words = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${WORD}-${name}-${i}`).join(" ");

const opening = (name: string): Message[] => [
  { role: "system", content: `You answer of ${words(name, 60)}.` },
  { role: "user", content: `What of ${words(`${name}-question`, 20)}?` },
];

const bodyOf = (messages: readonly Message[], fields: object = {}) =>
  JSON.stringify({
    model: MODEL,
    max_tokens: ANSWER_TOKENS,
    ignore_eos: true,
    messages,
    ...fields,
  });

const TOOLS = [{ type: "function", function: { name: "find", description: words("tool", 40) } }];
const CALLING = { tools: TOOLS, tool_choice: "required" };

/** In a stream it has an index, too. */
interface Call {
  readonly id: string;
  readonly type: string;
  readonly function: unknown;
}
interface Choice {
  readonly delta?: Partial<Message> & { readonly tool_calls?: readonly Call[] };
  readonly message?: Message;
}

/** What the engine said, as a client sends it back. */
async function answerTo(body: string): Promise<Message> {
  const headers = { "content-type": "application/json" };
  const response = await stack.up.fetch("/v1/chat/completions", { method: "POST", headers, body });
  const text = await response.text();
  expect(response.status).toBe(200);
  if (!text.startsWith("data:")) {
    const {
      role,
      content,
      tool_calls: calls,
    } = (JSON.parse(text) as { choices: [Required<Choice>] }).choices[0].message;
    return calls?.length ? { role, content, tool_calls: calls } : { role, content };
  }
  const events = text.split("\n\n").filter((event) => event.startsWith("data: {"));
  const choices = events.flatMap((event) => {
    return (JSON.parse(event.slice("data: ".length)) as { choices: Choice[] }).choices;
  });
  const calls = choices.flatMap(({ delta }) => delta?.tool_calls ?? []);
  if (calls.length > 0) {
    const sent = calls.map(({ id, type, function: called }) => ({ id, type, function: called }));
    return { role: "assistant", content: null, tool_calls: sent };
  }
  return { role: "assistant", content: choices.map(({ delta }) => delta?.content ?? "").join("") };
}

/** By how many content blocks the decision on this turn was wrong, and how many it said to be cached. */
async function predicted(messages: readonly Message[], fields: object = {}) {
  const body = bodyOf(messages, { ...fields, max_tokens: 1 });
  const { candidates, result } = await stack.probe(body);
  const { endpoint, promptTokens, cachedTokens } = result!;
  const served = candidates.find(({ address, id }) => address === endpoint || id === endpoint)!;
  const { blocks } = judge({
    matchedBlocks: served.matchedBlocks,
    promptTokens: promptTokens!,
    cachedTokens: cachedTokens ?? 0,
    tokenCounts: await tokenCountsOf(body, stack.origins[0]!),
  });
  return { wrongBlocks: blocks, matchedBlocks: served.matchedBlocks, cachedTokens };
}

it.for([
  { name: "streams", fields: { stream: true } },
  { name: "whole answers", fields: {} },
])("the second turn is predicted with the first one's answer: $name", async ({ name, fields }) => {
  const first = opening(name.replace(" ", "-"));
  const said = await answerTo(bodyOf(first, fields));
  await stack.settle();
  const promptBytes = first.reduce((sum, { content }) => sum + content!.length, 0);
  const answerBlocks = Math.floor(said.content!.length / 256);
  expect(answerBlocks).toBeGreaterThan(3);
  const next = [...first, said, { role: "user", content: "And then?" }];
  const { wrongBlocks, matchedBlocks, cachedTokens } = await predicted(next);
  expect(Math.abs(wrongBlocks)).toBeLessThanOrEqual(1);
  expect(matchedBlocks).toBeGreaterThanOrEqual(Math.floor(promptBytes / 256) + answerBlocks - 1);
  expect(cachedTokens).toBeGreaterThan(ANSWER_TOKENS);
});

it("a conversation that goes on is predicted turn for turn", async () => {
  const messages = opening("long");
  for (let turn = 0; turn < 3; turn++) {
    // oxlint-disable-next-line no-await-in-loop -- each turn has the answer of the one before it
    messages.push(await answerTo(bodyOf(messages, { stream: turn % 2 === 0 })));
    messages.push({ role: "user", content: `And number ${turn}?` });
    await stack.settle();
    const { wrongBlocks } = await predicted(messages);
    expect(Math.abs(wrongBlocks)).toBeLessThanOrEqual(1);
    await stack.settle();
  }
});

it.for([{ stream: true }, { stream: false }])(
  "calls of tools are predicted, too: %o",
  async ({ stream }) => {
    const first = opening(`calls-${stream}`);
    const said = await answerTo(bodyOf(first, { ...CALLING, stream }));
    await stack.settle();
    const [call] = said.tool_calls as readonly [{ id: string }];
    const next = [...first, said, { role: "tool", tool_call_id: call.id, content: "Nothing." }];
    const { wrongBlocks, cachedTokens } = await predicted(next, { tools: TOOLS });
    expect(Math.abs(wrongBlocks)).toBeLessThanOrEqual(1);
    expect(cachedTokens).toBeGreaterThan(ANSWER_TOKENS);
  },
);

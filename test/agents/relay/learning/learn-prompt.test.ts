// What is learned of single prompts, from a simulated engine.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLogger } from "../../../../src/agents/process/logger.ts";
import { EngineAsker } from "../../../../src/agents/relay/learning/engine-asker.ts";
import {
  learnConversation,
  learnPrompt,
  type LearnSetup,
} from "../../../../src/agents/relay/learning/learn-prompt.ts";
import { PromptTokenizer } from "../../../../src/agents/relay/learning/prompt-tokenizer.ts";
import { startSimulator, type Simulator } from "../../../../src/agents/simulator/server.ts";
import { writeCompletionPrompt } from "../../../../src/scheduler/kv/canonical/canonical-prompt.ts";
import { createContentKeys, hashContentRoot } from "../../../../src/scheduler/kv/content-keys.ts";
import type { ContentFacts } from "../../../../src/agents/protocol/content-header.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { contentOf, type ChatBody } from "../../support/content.ts";
import { answerStatus, startStubEngine, type StubEngine } from "../../support/running-relay.ts";

const MODEL = "base";
const ADAPTER = "tuned";
const STEP = 16;
const CHAT = "/v1/chat/completions";

let simulator: Simulator;
let engines: EngineAsker;
let setup: LearnSetup;
let origin: string;
beforeAll(async () => {
  simulator = await startSimulator({
    parameters: { model: MODEL, "lora-modules": [ADAPTER] },
    logger: createLogger({ role: "simulator", level: "silent" }),
  });
  origin = `http://127.0.0.1:${simulator.ports[0]}`;
  engines = new EngineAsker(() => performance.now());
  const tokenizer = new PromptTokenizer(engines);
  setup = { engines, tokenizer, tokensPerKey: STEP, areMediaRendered: false };
});
afterAll(async () => {
  await engines.close();
  await simulator.close();
});

const words = (count: number, stem = "word") =>
  Array.from({ length: count }, (_, i) => `${stem}${i}`).join(" ");
const user = (content: string) => [{ role: "user", content }];

async function learnChat(body: ChatBody, endpoint = origin, sent: object = body) {
  const { facts, keys } = await contentOf(body);
  const job = { endpoint, path: CHAT, body: Buffer.from(JSON.stringify(sent)), ...facts };
  return { learned: await learnPrompt(job, setup), keys };
}

async function learnCompletion(prompt: string | number[]) {
  const root = hashContentRoot({ model: MODEL });
  const hasher = createContentKeys(root);
  writeCompletionPrompt(prompt, (piece) => hasher.update(Buffer.from(piece)));
  const keys = hasher.keys();
  const lastKey = { low: keys.at(-2)!, high: keys.at(-1)! };
  const body = Buffer.from(JSON.stringify({ model: MODEL, prompt }));
  const job = { endpoint: origin, path: "/v1/completions", body, root, lastKey };
  return learnPrompt(job, setup);
}

async function tokenIds(body: object): Promise<Uint32Array> {
  const init = { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(`${origin}/tokenize`, init);
  return Uint32Array.from(((await answer.json()) as { tokens: number[] }).tokens);
}

describe("a chat", () => {
  it("is told by its content keys and the keys of its tokens", async () => {
    const messages = user(words(300));
    const { learned, keys } = await learnChat({ model: MODEL, messages });
    const tokens = await tokenIds({ messages });
    const expected = tokenBlockKeys({ adapter: null, tokens, blockSize: STEP, extraKeys: [] });
    if (learned.outcome !== "learned") throw new Error(learned.outcome);
    const { content } = learned;
    expect(content.contentKeys).toEqual(keys);
    expect(content.tokenKeys).toEqual(expected.slice(0, content.tokenKeys.length));
    // A word is some eight bytes, so a block of content some 32 tokens.
    const counts = [...content.tokenCounts];
    const added = counts.map((count, i) => count - (counts[i - 1] ?? 0));
    expect(Math.min(...added)).toBeGreaterThan(20);
    expect(content.tokenKeys.length / 2).toBe(Math.floor(counts.at(-1)! / STEP));
  });

  it.for([
    { name: "a salt", fields: { cache_salt: "s1" }, adapter: null, salt: "s1" },
    { name: "an adapter", fields: { model: ADAPTER }, adapter: ADAPTER, salt: undefined },
  ])("with $name has token keys that say so", async ({ fields, adapter, salt }) => {
    const messages = user(words(200));
    const { learned } = await learnChat({ model: MODEL, messages, ...fields });
    const tokens = await tokenIds({ messages });
    const extraKeys = salt === undefined ? [] : [[{ kind: "text", text: salt } as const]];
    const expected = tokenBlockKeys({ adapter, tokens, blockSize: STEP, extraKeys });
    if (learned.outcome !== "learned") throw new Error(learned.outcome);
    const { tokenKeys } = learned.content;
    expect(tokenKeys).toEqual(expected.slice(0, tokenKeys.length));
  });

  it("is told of its beginning where it settles less than a block", async () => {
    const messages = user(`${"x".repeat(600)} ${words(20)}`);
    const { learned } = await learnChat({ model: MODEL, messages });
    if (learned.outcome !== "learned") throw new Error(learned.outcome);
    expect(learned.content.tokenCounts.every((count) => count < STEP)).toBe(true);
    expect(learned.content.tokenKeys).toHaveLength(2);
  });

  it("of fewer tokens than a block has is not learned", async () => {
    const { learned } = await learnChat({ model: MODEL, messages: user("x".repeat(600)) });
    expect(learned.outcome).toBe("unaligned");
  });

  it("is learned up to its first picture", async () => {
    const beginning = [...user(words(150)), { role: "assistant", content: words(150, "answer") }];
    const picture = {
      type: "image_url",
      image_url: { url: `data:image/png;base64,${"A".repeat(9_000)}` },
    };
    const messages = [
      ...beginning,
      { role: "user", content: [{ type: "text", text: words(100, "what") }, picture] },
    ];
    const { learned, keys } = await learnChat({ model: MODEL, messages });
    const textual = await contentOf({ model: MODEL, messages: beginning });
    if (learned.outcome !== "learned") throw new Error(learned.outcome);
    expect(learned.content.contentKeys).toEqual(textual.keys);
    expect(keys.length).toBeGreaterThan(textual.keys.length);
    expect(learned.mediaBlocks).toBe((keys.length - textual.keys.length) / 2);
  });

  it("that begins with a picture is not learned", async () => {
    const picture = { type: "image_url", image_url: { url: `https://a/${"b".repeat(600)}` } };
    const { learned } = await learnChat({
      model: MODEL,
      messages: [{ role: "user", content: [picture] }, ...user(words(200))],
    });
    expect(learned.outcome).toBe("media");
  });
});

describe("a completion", () => {
  it("of text is learned", async () => {
    expect((await learnCompletion(words(200))).outcome).toBe("learned");
  });

  it("of token ids is learned without asking for them", async () => {
    const ids = Array.from({ length: 400 }, (_, i) => i * 31);
    const learned = await learnCompletion(ids);
    if (learned.outcome !== "learned") throw new Error(learned.outcome);
    const { contentKeys, tokenKeys, tokenCounts } = learned.content;
    const all = { adapter: null, tokens: Uint32Array.from(ids), blockSize: STEP, extraKeys: [] };
    expect(tokenKeys).toEqual(tokenBlockKeys(all).slice(0, tokenKeys.length));
    const text = ids.join(",");
    for (let i = 0; i < contentKeys.length / 2; i++) {
      // Ids whose last digit stands within the content, less the one that may go on behind it.
      const within = text
        .slice(0, (i + 1) * 256)
        .replace(/,[0-9]*$/u, "")
        .split(",").length;
      expect(Math.abs(tokenCounts[i]! - within)).toBeLessThanOrEqual(1);
    }
  });
});

describe("nothing is learned", () => {
  const body = { model: MODEL, messages: user(words(200)) };

  it.for(["{", "[]", '{"model":"base"}'])("from a body like %s", async (text) => {
    const { facts } = await contentOf(body);
    const job = { endpoint: origin, path: CHAT, body: Buffer.from(text), ...facts };
    expect(await learnPrompt(job, setup)).toEqual({ outcome: "unreadable" });
  });

  it("where the Worker made other keys", async () => {
    const other = { ...body, messages: user(words(200, "else")) };
    expect((await learnChat(body, origin, other)).learned.outcome).toBe("other-keys");
  });

  async function from(behaviour: StubEngine["behaviour"]): Promise<string> {
    await using engine = await startStubEngine(behaviour);
    return (await learnChat(body, `http://${engine.address}`)).learned.outcome;
  }
  /** Both of the engine's answers at once. */
  const tells =
    (fields: object): StubEngine["behaviour"] =>
    (response) => {
      response.end(JSON.stringify({ data: [], ...fields }));
    };

  it("from an engine that does not tell texts, or has no such page", async () => {
    expect(await from(tells({ tokens: [1, 2] }))).toBe("unsupported");
    expect(await from(tells({ tokens: [1, 2], token_strs: ["a"] }))).toBe("unsupported");
    expect(await from(answerStatus(404))).toBe("unsupported");
  });

  it("from an engine that refuses, breaks off, or says what is no JSON", async () => {
    expect(await from(answerStatus(500))).toBe("failed");
    expect(await from((response) => response.destroy())).toBe("failed");
    expect(await from((response) => response.end("no"))).toBe("failed");
  });

  it("from another text than the prompt's", async () => {
    const names = words(400, "other")
      .split(" ")
      .map((word) => `${word} `);
    const tokens = names.map((_, i) => i);
    expect(await from(tells({ tokens, token_strs: names }))).toBe("unaligned");
  });
});

describe("a conversation", () => {
  const asked = { model: MODEL, messages: user(words(200)) };
  const answering = (content: string, fields: object = {}) =>
    Buffer.from(
      JSON.stringify({
        choices: [{ index: 0, message: { content, ...fields }, finish_reason: "stop" }],
      }),
    );

  async function learn(answer: Uint8Array, facts?: ContentFacts, take = () => true) {
    const content = await contentOf(asked);
    const body = Buffer.from(JSON.stringify(asked));
    const job = { endpoint: origin, path: CHAT, body, answer, ...content.facts, ...facts };
    return learnConversation(job, setup, take);
  }

  it("is learned up to the last block of its answer, with the tokens of the next turn", async () => {
    const said = words(150, "answer");
    const learned = await learn(answering(said));
    if (learned.outcome !== "learned") throw new Error(learned.outcome);
    const { contentKeys, tokenKeys, tokenCounts } = learned.content;
    const messages = [...asked.messages, { role: "assistant", content: said }];
    expect(contentKeys).toEqual((await contentOf({ ...asked, messages })).keys);
    const next = [...messages, ...user(words(100, "next"))];
    const all = { adapter: null, blockSize: STEP, extraKeys: [] };
    const keys = tokenBlockKeys({ ...all, tokens: await tokenIds({ messages: next }) });
    expect(tokenKeys.length).toBeGreaterThan(2 * 15);
    expect(tokenKeys).toEqual(keys.slice(0, tokenKeys.length));
    // As the next turn's prompt would teach it.
    const prompt = await learnChat({ model: MODEL, messages: next });
    if (prompt.learned.outcome !== "learned") throw new Error(prompt.learned.outcome);
    const later = prompt.learned.content.tokenCounts.slice(0, tokenCounts.length);
    expect(tokenCounts).toEqual(later);
  });

  it("is learned where calls of tools are written anew by the template", async () => {
    const call = {
      id: "c1",
      type: "function",
      function: { name: "find", arguments: JSON.stringify({ query: words(120, "argument") }) },
    };
    const learned = await learn(answering("", { tool_calls: [call] }));
    if (learned.outcome !== "learned") throw new Error(learned.outcome);
    const message = { role: "assistant", content: null, tool_calls: [call] };
    const messages = [...asked.messages, message];
    expect(learned.content.contentKeys).toEqual((await contentOf({ ...asked, messages })).keys);
    // Nothing of what stands in for the next message is settled.
    const tokens = await tokenIds({ messages, add_generation_prompt: false });
    expect(learned.content.tokenCounts.at(-1)!).toBeLessThanOrEqual(tokens.length);
  });

  it("is not learned again where no block ends in the answer", async () => {
    expect((await learn(answering("So."))).outcome).toBe("short");
  });

  it("is not asked for where it is known", async () => {
    const learned = await learn(answering(words(100)), undefined, () => false);
    expect(learned.outcome).toBe("known");
  });

  it("is not learned where the Worker made other keys", async () => {
    const { facts } = await contentOf({ ...asked, messages: user(words(200, "else")) });
    expect((await learn(answering(words(100)), facts)).outcome).toBe("other-keys");
  });
});

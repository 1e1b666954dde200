// A prompt's tokens, by a model's own tokenizer inside workerd, with files in a bucket.

import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type EdgePrefixKeys, prefixKeysSchema } from "../../../src/config/prefix-keys.ts";
import { promptTokenKeys } from "../../../src/worker/token-keys/prompt-keys.ts";
import { openaiParser } from "../../../src/worker/openai/openai-parser.ts";
import { EDGE_LIMITS, tokenizeAtEdge } from "../../../src/worker/token-keys/by-edge.ts";
import type { FileBindings } from "../../../src/worker/token-keys/model-files.ts";
import { CONFIG, idsOf, TOKENIZER } from "./model.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const bindings = env as unknown as Required<FileBindings>;
const EDGE = prefixKeysSchema.parse({
  kind: "tokens",
  by: "edge",
  tokenizer: "r2:small/tokenizer.json",
  tokenizerConfig: "r2:small/tokenizer_config.json",
}) as EdgePrefixKeys;

const encode = (text: string) => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;

async function tokenize(fields: Readonly<Record<string, unknown>>, path = CHAT) {
  const bytes = encode(JSON.stringify({ model: "m", ...fields }));
  const parsed = openaiParser.parse({ path, bytes, headers: new Headers() });
  if (!parsed.ok) throw new Error(parsed.error.message);
  const tenant = { id: "acme", isolated: false };
  const held: Promise<void>[] = [];
  const hold = (work: Promise<void>) => void held.push(work);
  const prepared = await parsed.value.prepare("m", tenant);
  const tokenized = tokenizeAtEdge(prepared, EDGE, { bindings, hold });
  await Promise.all(held);
  return tokenized;
}

const user = (content: unknown) => ({ messages: [{ role: "user", content }] });

beforeAll(async () => {
  await bindings.MODEL_FILES.put("small/tokenizer.json", JSON.stringify(TOKENIZER));
  await bindings.MODEL_FILES.put("small/tokenizer_config.json", JSON.stringify(CONFIG));
  // Read on the first request's account, which does not wait for it.
  await tokenize(user("Hi"));
});
afterEach(() => vi.restoreAllMocks());

describe("the tokens of a chat are those of its rendered text", () => {
  it.for([
    { name: "a text", fields: user("The moon"), text: "<|user|>The moon<|end|><|system|>" },
    {
      name: "parts, between which a line ends",
      fields: user([
        { type: "text", text: "The" },
        { type: "text", text: "moon" },
      ]),
      text: "<|user|>The\nmoon<|end|><|system|>",
    },
    {
      name: "no generation prompt",
      fields: { ...user("Hi"), add_generation_prompt: false },
      text: "<|user|>Hi<|end|>",
    },
    {
      name: "a call's arguments, which are JSON on the wire",
      fields: {
        messages: [
          { role: "user", content: "Hi" },
          {
            role: "assistant",
            content: null,
            tool_calls: [
              { id: "1", type: "function", function: { name: "f", arguments: '{"city":"Rome"}' } },
            ],
          },
        ],
      },
      text: "<|user|>Hi<|end|><|assistant|>Rome<|end|><|system|>",
    },
    {
      name: "tools, as vLLM writes them out",
      fields: { ...user("Hi"), tools: [{ type: "function", function: { name: "f" } }] },
      text: '[{"type": "function", "function": {"name": "f", "description": null, "parameters": null}}]<|user|>Hi<|end|><|system|>',
    },
  ])("$name", async ({ fields, text }) => {
    const tokenized = await tokenize(fields);
    expect(tokenized).toEqual({ ok: true, tokens: idsOf(text), media: [], isWhole: true });
  });

  it("up to the first image, whose tokens only the engine knows", async () => {
    const image = { type: "image_url", image_url: { url: "https://x.test/cat.png" } };
    const system = { role: "system", content: "The moon" };
    const tokenized = await tokenize({ messages: [system, { role: "user", content: [image] }] });
    const tokens = idsOf("<|system|>The moon<|end|>");
    expect(tokenized).toEqual({ ok: true, tokens, media: [], isWhole: false });
    expect(await tokenize(user([image]))).toEqual({ ok: false, reason: "unsupported" });
  });
});

it("tokenizes a completion's text, of several the first", async () => {
  const expected = { ok: true, tokens: idsOf("The tide"), media: [], isWhole: true };
  expect(await tokenize({ prompt: "The tide" }, COMPLETIONS)).toEqual(expected);
  expect(await tokenize({ prompt: ["The tide", "x"] }, COMPLETIONS)).toEqual(expected);
});

it("gives keys that are those of the tokens", async () => {
  const text = "The moon goes up. ".repeat(100);
  const tokenized = await tokenize(user(text));
  const tokens = idsOf(`<|user|>${text}<|end|><|system|>`);
  if (!tokenized.ok) throw new Error(tokenized.reason);
  const keysOf = (ids: Uint32Array) =>
    promptTokenKeys({
      tokens: ids,
      media: [],
      adapter: null,
      salt: undefined,
      blockSizeTokens: EDGE.blockSizeTokens,
    });
  expect(keysOf(tokenized.tokens)).toEqual(keysOf(tokens));
  expect(keysOf(tokens).length).toBeGreaterThan(4);
});

describe("goes on without keys", () => {
  it.for([
    { name: "a client's own template", fields: { ...user("Hi"), chat_template: "{{ 1 }}" } },
    { name: "a message to go on with", fields: { ...user("Hi"), continue_final_message: true } },
  ])("for $name", async ({ fields }) => {
    expect(await tokenize(fields)).toEqual({ ok: false, reason: "unsupported" });
  });

  it("where the template throws, and says nothing of the prompt", async () => {
    const log = vi.spyOn(console, "log");
    const messages = [{ role: "nobody", content: "a secret of a client" }];
    expect(await tokenize({ messages })).toEqual({ ok: false, reason: "failed" });
    expect(JSON.stringify(log.mock.calls)).not.toContain("secret");
  });

  it("past so many tokens, and so many bytes of a body", async () => {
    const atBound = "x".repeat((EDGE_LIMITS.promptTokensMax - 20) * 4);
    expect(await tokenize(user(atBound))).toMatchObject({ ok: true });
    const tooLong = { ok: false, reason: "too-long" };
    expect(await tokenize(user("x".repeat(EDGE_LIMITS.promptTokensMax * 4)))).toEqual(tooLong);
    const metadata = "x".repeat(EDGE_LIMITS.bodyBytesMax);
    expect(await tokenize({ ...user("Hi"), metadata })).toEqual(tooLong);
  });
});

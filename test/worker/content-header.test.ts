// What the Worker tells a relay about a prompt's content keys.

import { afterAll, beforeAll, expect, it } from "vitest";
import { contentPayload, decodeContentHeader } from "../../src/agents/protocol/content-header.ts";
import { encodeFrame, FRAME } from "../../src/agents/protocol/codec.ts";
import { CONTENT_HEADER, SIGNED } from "../../src/agents/protocol/headers.ts";
import { createPromptFeed } from "../../src/scheduler/kv/canonical/prompt-bytes.ts";
import { writeChatPrompt } from "../../src/scheduler/kv/canonical/canonical-prompt.ts";
import { createContentKeys } from "../../src/scheduler/kv/content-keys.ts";
import { type TestAgent, until } from "../durable/pool-client.ts";
import { chat, chatBody, deploy, ISOLATED_KEY, seenBy } from "./support/deployment.ts";
import { RELAY_KEY } from "./support/relay-key.ts";

const LONG = "What the relay must not be told is what it is told anyway. ".repeat(10);
const MESSAGES = [{ role: "user", content: LONG }];

let collector: TestAgent;
beforeAll(async () => {
  collector = await deploy();
});
afterAll(() => collector.close());

async function seenOf(response: Response) {
  await response.body?.cancel();
  const { headers, body } = await seenBy(response);
  return { headers, body, content: decodeContentHeader(headers[CONTENT_HEADER] ?? "") };
}

const encoder = new TextEncoder();
const feed = createPromptFeed((text, bytes) => encoder.encodeInto(text, bytes).written);

async function hmacHex(text: string): Promise<string> {
  const key = await crypto.subtle.importKey(
    "raw",
    encoder.encode(RELAY_KEY.secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  const mac = await crypto.subtle.sign("HMAC", key, encoder.encode(text));
  return Array.from(new Uint8Array(mac), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

it("is absent where no collector follows what engines hold", async () => {
  const { headers } = await seenOf(await chat(chatBody({ messages: MESSAGES })));
  expect(headers).not.toHaveProperty(CONTENT_HEADER);
  // From here on one does, if not yet all of it.
  const offer = encoder.encode(JSON.stringify({ whole: [], partial: [0, 1] }));
  collector.frame((place) => encodeFrame({ type: FRAME.kvOffer, ...place }, offer));
  await until(async () => {
    const seen = await seenOf(await chat(chatBody({ messages: MESSAGES })));
    return CONTENT_HEADER in seen.headers;
  });
});

it.for([
  { tenant: "plain", headers: {} },
  { tenant: "isolated", headers: { authorization: `Bearer ${ISOLATED_KEY}` } },
])(
  "is the root and the last of the prompt's keys, signed with the request: $tenant",
  async ({ headers: given }) => {
    const response = await chat(chatBody({ messages: MESSAGES }), given);
    const { headers, content } = await seenOf(response);
    expect(await hmacHex(contentPayload(content!, headers[SIGNED.signature]!))).toBe(
      content!.macHex,
    );
    const keys = createContentKeys(content!.root);
    await writeChatPrompt(
      { messages: MESSAGES },
      (piece) => feed(keys, piece),
      () => "",
    );
    const { low, high } = content!.lastKey;
    expect(keys.keys().slice(-2)).toEqual(Uint32Array.of(low, high));
  },
);

it("is absent where the prompt has no full block", async () => {
  const { headers } = await seenOf(await chat(chatBody({})));
  expect(headers).not.toHaveProperty(CONTENT_HEADER);
});

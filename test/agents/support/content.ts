// Content keys of a request's body, as the Worker makes them.

import { createHash } from "node:crypto";
import type { ContentFacts } from "../../../src/agents/protocol/content-header.ts";
import {
  type ChatPrompt,
  writeChatPrompt,
} from "../../../src/scheduler/kv/canonical/canonical-prompt.ts";
import { createPromptFeed } from "../../../src/scheduler/kv/canonical/prompt-bytes.ts";
import { createContentKeys, hashContentRoot } from "../../../src/scheduler/kv/content-keys.ts";

const encoder = new TextEncoder();
const feed = createPromptFeed((text, bytes) => encoder.encodeInto(text, bytes).written);

export interface ChatBody extends ChatPrompt {
  readonly model: string;
  readonly cache_salt?: string;
}

export interface Content {
  readonly canonical: Uint8Array;
  readonly keys: Uint32Array;
  readonly facts: ContentFacts;
}

export async function contentOf(body: ChatBody): Promise<Content> {
  const { model, cache_salt: salt } = body;
  const root = hashContentRoot(salt === undefined ? { model } : { model, salt });
  const hasher = createContentKeys(root);
  const parts: Uint8Array[] = [];
  const sink = {
    update(bytes: Uint8Array) {
      parts.push(bytes.slice());
      hasher.update(bytes);
    },
  };
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  await writeChatPrompt(body, (piece) => feed(sink, piece), sha256);
  const keys = hasher.keys();
  const lastKey = { low: keys.at(-2) ?? 0, high: keys.at(-1) ?? 0 };
  return { canonical: Buffer.concat(parts), keys, facts: { root, lastKey } };
}

// Requests of a given size: conversations whose words differ from body to body.

import { createRng } from "../src/scheduler/support/rng.ts";

export const CHAT_PATH = "/v1/chat/completions";
export const MODEL = "bench-model";

const TURNS = 8;
/** Of a turn: role, quotes and braces. */
const TURN_OVERHEAD_BYTES = 40;
const VOCABULARY = 50_000;

export interface ConversationOptions {
  /** Of the body, give or take one word. */
  readonly bodyBytes: number;
  readonly seed: number;
  readonly isStream: boolean;
  /** MODEL unless said otherwise. */
  readonly model?: string;
}

/** A chat request's body: plain ASCII, its own words, and therefore in no cache. */
export function createChatBody(options: ConversationOptions): string {
  const { bodyBytes, seed, isStream, model = MODEL } = options;
  const rng = createRng(seed);
  const messages: { role: string; content: string }[] = [];
  const contentChars = bodyBytes / TURNS - TURN_OVERHEAD_BYTES;
  for (let turn = 0; turn < TURNS; turn++) {
    const words: string[] = [];
    for (let chars = 0; chars < contentChars;) {
      const word = Math.floor(rng() * VOCABULARY).toString(36);
      words.push(word);
      chars += word.length + 1;
    }
    messages.push({ role: turn % 2 === 0 ? "user" : "assistant", content: words.join(" ") });
  }
  return JSON.stringify({
    model,
    max_tokens: 100,
    ...(isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    messages,
  });
}

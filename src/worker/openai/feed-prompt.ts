import { createPromptFeed } from "../../scheduler/kv/canonical/prompt-bytes.ts";

const encoder = new TextEncoder();

/** Feeds a piece of the canonical prompt to content keys, with the platform's encoder. */
export const feedPrompt = createPromptFeed(
  (text, bytes) => encoder.encodeInto(text, bytes).written,
);

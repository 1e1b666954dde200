// A prompt's tokens, by the model's own tokenizer in this isolate. It takes the isolate's processor, about a
// millisecond for 500 tokens, so it is for prompts that are not long, in pools that ask for it.

import { z } from "zod";
import type { EdgePrefixKeys } from "../../config/prefix-keys.ts";
import type { Prepared } from "../parsers/parser.ts";
import { logTokenizer } from "../telemetry.ts";
import { chatSchema, renderChat } from "./chat-template.ts";
import { EdgeTokenizer } from "./edge-tokenizer.ts";
import type { FileBindings } from "./model-files.ts";
import type { EdgeModel } from "./model-library.ts";
import { type Tokenized, unkeyed } from "./outcomes.ts";

export const EDGE_LIMITS = {
  /** Tokens of a prompt, estimated from its bytes before it is tokenized. */
  promptTokensMax: 16_384,
  /** Of the body: text that is mostly escapes takes six times the bytes. */
  bodyBytesMax: 512 * 1024,
} as const;

const completionSchema = z.looseObject({
  prompt: z.union([z.string(), z.array(z.string()).min(1)]),
  add_special_tokens: z.boolean().nullish(),
});

const tokenizer = new EdgeTokenizer({
  clock: () => Date.now(),
  complain: (_, why) => logTokenizer(why),
});

export interface EdgeFacts {
  readonly bindings: FileBindings;
  /** Keeps the request's context alive for work that its answer does not wait for. */
  readonly hold: (work: Promise<void>) => void;
}

export function tokenizeAtEdge(
  prepared: Prepared,
  config: EdgePrefixKeys,
  { bindings, hold }: EdgeFacts,
): Tokenized {
  const { promptTokensMax, bodyBytesMax } = EDGE_LIMITS;
  const isLong = prepared.promptTokens > promptTokensMax;
  if (isLong || prepared.body.byteLength > bodyBytesMax) return unkeyed("too-long");
  const found = tokenizer.model(config, bindings, hold);
  if (!found.ok) return found;
  try {
    return encode(prepared, found.model);
  } catch {
    // A template that throws, as some do for roles or orders of messages that they do not know. What it
    // says may quote the prompt.
    return unkeyed("failed");
  }
}

function encode({ path, body }: Prepared, { tokenizer: encoder, chat }: EdgeModel): Tokenized {
  const json: unknown = JSON.parse(new TextDecoder().decode(body));
  if (!path.endsWith("/chat/completions")) {
    const { prompt, add_special_tokens: special } = completionSchema.parse(json);
    const first = typeof prompt === "string" ? prompt : prompt[0]!;
    const { ids } = encoder.encode(first, { add_special_tokens: special !== false });
    return { ok: true, tokens: Uint32Array.from(ids), media: [], isWhole: true };
  }
  const parsed = chatSchema.parse(json);
  // A client's own template, and a last message to go on with, are rare, and the engine's own affair.
  const isPlain = parsed.chat_template == null && parsed.continue_final_message !== true;
  if (chat === undefined || !isPlain) return unkeyed("unsupported");
  const rendered = renderChat(parsed, chat);
  if (rendered === undefined) return unkeyed("unsupported");
  const { ids } = encoder.encode(rendered.text, {
    add_special_tokens: parsed.add_special_tokens === true,
  });
  const { isWhole } = rendered;
  return { ok: true, tokens: Uint32Array.from(ids), media: [], isWhole };
}

// Reads the prompt of a request that an engine is serving: what it is in the canonical form, and what to ask
// the engine so that it tells the prompt's tokens.
//
// The body has passed the Worker's checks, so this is no judge of it: what it does not understand is not
// learned from. Nothing of it is kept or logged.

import { createHash } from "node:crypto";
import { z } from "zod";
import {
  type ChatPrompt,
  type CompletionPrompt,
  type PromptMessage,
  writeChatPrompt,
  writeCompletionPrompt,
} from "../../../scheduler/kv/canonical/canonical-prompt.ts";
import { createPromptFeed } from "../../../scheduler/kv/canonical/prompt-bytes.ts";

/** What the engine makes of the prompt. */
export type TokenSource =
  /** The body of a request to the engine's /tokenize, but for whether names are wanted. */
  | { readonly kind: "ask"; readonly body: Readonly<Record<string, unknown>> }
  /** The prompt itself is token ids. */
  | { readonly kind: "given"; readonly ids: readonly number[] };

export interface ReadPrompt {
  readonly model: string;
  readonly cacheSalt: string | null;
  /** The whole prompt in the canonical form. */
  readonly canonical: Uint8Array;
  /** As much of it as the tokens are of: media have tokens of their own, which nothing tells. */
  readonly learnableBytes: number;
  readonly tokens: TokenSource;
  /** How to ask for all of it; null where there are no media. */
  readonly rendering: MediaPrompt | null;
}

/** A chat with media, of which engines render the whole, and tell the tokens' names of its text alone. */
export interface MediaPrompt {
  /** The body of a request to the engine's render endpoint. */
  readonly whole: Readonly<Record<string, unknown>>;
  /** Of one to its /tokenize, without the media. */
  readonly text: Readonly<Record<string, unknown>>;
}

const text = z.string().nullish();
const part = z.looseObject({ type: z.string(), text });
const message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(part)]).nullish(),
  name: text,
  tool_calls: z.array(z.unknown()).nullish(),
  tool_call_id: text,
});
const shared = { model: z.string(), cache_salt: text };
const kwargs = z.record(z.string(), z.unknown()).nullish();
const chatSchema = z.looseObject({
  ...shared,
  messages: z.array(message).min(1),
  tools: z.array(z.unknown()).nullish(),
  chat_template_kwargs: kwargs,
});
const tokenIds = z.array(z.int().min(0).max(0xffff_ffff));
const completionSchema = z.looseObject({
  ...shared,
  prompt: z.union([z.string(), tokenIds, z.array(z.string()).min(1), z.array(tokenIds).min(1)]),
});
export type ChatBody = z.output<typeof chatSchema>;
export type CompletionBody = z.output<typeof completionSchema>;

export type PromptBody =
  | { readonly api: "chat"; readonly body: ChatBody }
  | { readonly api: "completion"; readonly body: CompletionBody };

/** Fields of a chat that /tokenize takes under the same names. */
const TOKENIZE_FIELDS = [
  "model",
  "tools",
  "add_generation_prompt",
  "continue_final_message",
  "add_special_tokens",
  "chat_template",
] as const;
/** Fields of a chat that templates see among their arguments, where alone /tokenize takes them. */
const ARGUMENT_FIELDS = ["documents", "reasoning_effort"] as const;

const encoder = new TextEncoder();
const feed = createPromptFeed((piece, bytes) => encoder.encodeInto(piece, bytes).written);

/** Undefined for a body that is not understood. */
export async function readPrompt(path: string, body: Uint8Array): Promise<ReadPrompt | undefined> {
  const parsed = parsePrompt(path, body);
  if (parsed === undefined) return undefined;
  return parsed.api === "chat" ? readChat(parsed.body) : readCompletion(parsed.body);
}

/** Undefined for a body that is not understood. */
export function parsePrompt(path: string, body: Uint8Array): PromptBody | undefined {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
  } catch {
    return undefined;
  }
  if (path.endsWith("/chat/completions")) {
    const parsed = chatSchema.safeParse(json);
    return parsed.success ? { api: "chat", body: parsed.data } : undefined;
  }
  const parsed = completionSchema.safeParse(json);
  return parsed.success ? { api: "completion", body: parsed.data } : undefined;
}

async function readChat(body: ChatBody): Promise<ReadPrompt> {
  const messages = body.messages.map(promptMessage);
  const canonical = await chatBytes({ ...body, messages });
  const firstMedia = messages.findIndex(hasMedia);
  // Engines fetch and encode media where they are asked for tokens: they are asked up to there.
  const textual = firstMedia < 0 ? body.messages : body.messages.slice(0, firstMedia);
  const learnable =
    firstMedia < 0
      ? canonical
      : await chatBytes({ ...body, messages: messages.slice(0, firstMedia) });
  const isPrefix = Buffer.compare(learnable, canonical.subarray(0, learnable.length)) === 0;
  return {
    model: body.model,
    cacheSalt: body.cache_salt ?? null,
    canonical,
    learnableBytes: textual.length > 0 && isPrefix ? learnable.length : 0,
    tokens: { kind: "ask", body: tokenizeBody(body, textual, firstMedia < 0) },
    rendering: firstMedia < 0 ? null : mediaPrompt(body),
  };
}

/** As the canonical prompt has it. */
export function promptMessage(message: ChatBody["messages"][number]): PromptMessage {
  return { ...message, content: message.content ?? null };
}

function mediaPrompt(body: ChatBody): MediaPrompt {
  const { stream_options: _, ...rest } = body;
  const messages = body.messages.map((each) => {
    const { content } = each;
    if (!Array.isArray(content)) return each;
    return { ...each, content: content.filter(({ type }) => type === "text") };
  });
  return { whole: { ...rest, stream: false }, text: tokenizeBody(body, messages, true) };
}

/** What engines are asked for tokens of; without `isWhole` no answer is to follow. */
export function tokenizeBody(body: ChatBody, messages: ChatBody["messages"], isWhole: boolean) {
  const given = (names: readonly string[]) =>
    Object.fromEntries(
      names.flatMap((name) => {
        const value = body[name];
        return value === undefined || value === null ? [] : [[name, value]];
      }),
    );
  const templateArguments = { ...body.chat_template_kwargs, ...given(ARGUMENT_FIELDS) };
  return {
    ...given(TOKENIZE_FIELDS),
    ...(Object.keys(templateArguments).length === 0
      ? {}
      : { chat_template_kwargs: templateArguments }),
    ...(isWhole ? {} : { add_generation_prompt: false, continue_final_message: false }),
    messages,
  };
}

export function hasMedia({
  content,
}: {
  readonly content?: PromptMessage["content"] | undefined;
}): boolean {
  return Array.isArray(content) && content.some(({ type }) => type !== "text");
}

/** The canonical form of a chat. */
export async function chatBytes(prompt: ChatPrompt): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const recorder = { update: (bytes: Uint8Array) => void parts.push(bytes.slice()) };
  await writeChatPrompt(prompt, (piece) => feed(recorder, piece), sha256Hex);
  return Buffer.concat(parts);
}

/** Of several prompts the first: the content keys are of that one. */
export function readCompletion(body: CompletionBody): ReadPrompt {
  const parts: Uint8Array[] = [];
  const recorder = { update: (bytes: Uint8Array) => void parts.push(bytes.slice()) };
  writeCompletionPrompt(body.prompt, (piece) => feed(recorder, piece));
  const canonical = Buffer.concat(parts);
  const first = firstPrompt(body.prompt);
  const special = body["add_special_tokens"];
  return {
    model: body.model,
    cacheSalt: body.cache_salt ?? null,
    canonical,
    learnableBytes: canonical.length,
    rendering: null,
    tokens:
      typeof first === "string"
        ? {
            kind: "ask",
            body: {
              model: body.model,
              prompt: first,
              ...(typeof special === "boolean" ? { add_special_tokens: special } : {}),
            },
          }
        : { kind: "given", ids: first },
  };
}

function firstPrompt(prompt: CompletionPrompt): string | readonly number[] {
  if (typeof prompt === "string") return prompt;
  const [first] = prompt;
  return typeof first === "number" || first === undefined ? (prompt as readonly number[]) : first;
}

function sha256Hex(content: string): string {
  return createHash("sha256").update(content).digest("hex");
}

// How a relay tells collectors what prompts' content became.
//
//   GET  /v1/learned     which life of the collector this is
//   POST /v1/learned     one prompt, or an array of several; answered alike
//
// Both with the pool's agent token as a bearer token. Keys only: neither text nor token ids, and no name of a
// model, a tenant or an endpoint. A key of tokens covers all tokens up to its place, and stands at every
// `tokensPerKey`; engines whose blocks are longer use every second, or fourth, or as they need.
//
// Another epoch than before is another life: the collector has forgotten, and is told everything again. That
// is why prompts may come several in a message, and why the relay says in a header which life it has told
// everything that it knew when it met it: until then the collector knows a part.

import { z } from "zod";
import { CONTENT_KEYS_MAX } from "../../scheduler/kv/content-keys.ts";

export const LEARNED_PATH = "/v1/learned";
/** The epoch to which the relay has nothing to tell again; empty while it has. Absent: the relay does not say. */
export const CAUGHT_UP_HEADER = "x-fairlead-learned-caught-up";

export const LEARNED_LIMITS = {
  /** Of one prompt: half a million tokens at 16 a key. */
  tokenKeysMax: 32_768,
  tokensPerKeyMax: 4_096,
  /** Of a message: a third more than its words take, and the JSON around them. */
  bodyBytesMax: 512 * 1024,
  /** Prompts in one message. */
  promptsMax: 64,
  epochCharsMax: 64,
} as const;

const VERSION = 1;
const WORD_BYTES = 4;
const KEY_WORDS = 2;

/** What the content of one prompt became, whatever the engines' block size. */
export interface LearnedContent {
  /** Tokens from one token key to the next. */
  readonly tokensPerKey: number;
  /** Two words a content block. */
  readonly contentKeys: Uint32Array;
  /** Two words each, as token-keys.ts makes them. */
  readonly tokenKeys: Uint32Array;
  /** By content block: tokens that it and all before it settle. Never falls. */
  readonly tokenCounts: Uint32Array;
}

/** Words as base64, lowest byte first, which is how every machine we run on has them. */
function words(countMax: number) {
  const charsMax = 4 * Math.ceil((countMax * WORD_BYTES) / 3);
  return z
    .base64()
    .max(charsMax)
    .transform((text, context) => {
      const bytes = Buffer.from(text, "base64");
      if (bytes.length % WORD_BYTES === 0) {
        // A copy: views of words need an aligned start.
        return new Uint32Array(Uint8Array.from(bytes).buffer);
      }
      context.addIssue({ code: "custom", message: "expected words of four bytes" });
      return z.NEVER;
    });
}

const messageSchema = z.strictObject({
  v: z.literal(VERSION),
  tokensPerKey: z.int().min(1).max(LEARNED_LIMITS.tokensPerKeyMax),
  contentKeys: words(CONTENT_KEYS_MAX * KEY_WORDS),
  tokenKeys: words(LEARNED_LIMITS.tokenKeysMax * KEY_WORDS),
  tokenCounts: words(CONTENT_KEYS_MAX),
});

/** How a collector answers. */
export const heardSchema = z.object({
  epoch: z.string().min(1).max(LEARNED_LIMITS.epochCharsMax),
  /** Prompts that it takes in one message; one prompt, and no array, where absent. */
  promptsMax: z.int().min(1).optional(),
  /** False: it keeps nothing yet, and what it is told it would have to be told again. */
  isReady: z.boolean().optional(),
});
export type Heard = z.output<typeof heardSchema>;

const OPENS = Buffer.from("[");
const NEXT = Buffer.from(",");
const CLOSES = Buffer.from("]");

export function encodeLearned(content: LearnedContent): Buffer {
  const base64 = (array: Uint32Array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
  return Buffer.from(
    JSON.stringify({
      v: VERSION,
      tokensPerKey: content.tokensPerKey,
      contentKeys: base64(content.contentKeys),
      tokenKeys: base64(content.tokenKeys),
      tokenCounts: base64(content.tokenCounts),
    }),
  );
}

/** Of messages that are encoded already. */
export function joinLearned(messages: readonly Buffer[]): Buffer {
  if (messages.length === 1) return messages[0]!;
  const parts = messages.flatMap((message, i) => [i === 0 ? OPENS : NEXT, message]);
  return Buffer.concat([...parts, CLOSES]);
}

type DecodedLearned =
  | { readonly ok: true; readonly value: readonly LearnedContent[] }
  /** Says where, and never what was there. */
  | { readonly ok: false; readonly error: string };

export function decodeLearned(bytes: Uint8Array): DecodedLearned {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return { ok: false, error: "expected JSON" };
  }
  const prompts: readonly unknown[] = Array.isArray(json) ? json : [json];
  const { promptsMax } = LEARNED_LIMITS;
  if (prompts.length === 0 || prompts.length > promptsMax) {
    return { ok: false, error: `body: expected 1 to ${promptsMax} prompts` };
  }
  const value: LearnedContent[] = [];
  for (const prompt of prompts) {
    const parsed = messageSchema.safeParse(prompt);
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!;
      return { ok: false, error: `${issue.path.join(".") || "body"}: ${issue.message}` };
    }
    const { v: _, ...content } = parsed.data;
    const error = findMistake(content);
    if (error !== undefined) return { ok: false, error };
    value.push(content);
  }
  return { ok: true, value };
}

/** What is wrong with arrays that are right one by one. */
function findMistake({ contentKeys, tokenKeys, tokenCounts }: LearnedContent): string | undefined {
  if (contentKeys.length === 0 || tokenKeys.length === 0) return "body: expected keys";
  if (tokenKeys.length % KEY_WORDS !== 0) return "tokenKeys: expected whole keys";
  if (contentKeys.length !== tokenCounts.length * KEY_WORDS) {
    return "tokenCounts: expected as many as content keys";
  }
  const doesFall = tokenCounts.some((count, i) => i > 0 && count < tokenCounts[i - 1]!);
  return doesFall ? "tokenCounts: expected counts that never fall" : undefined;
}

// One prompt, or the conversation that an answer made of it: from bodies to what its content became on the engine
// that serves it.

import { CONTENT_BLOCK_BYTES, createContentKeys } from "../../../scheduler/kv/content-keys.ts";
import { alignContent } from "../../../scheduler/kv/residency/content-alignment.ts";
import { tokenBlockKeys } from "../../../scheduler/kv/residency/token-keys.ts";
import { LEARNED_LIMITS, type LearnedContent } from "../../learning/learned-message.ts";
import { type ContentFacts, type KeyWords, keyHex } from "../../protocol/content-header.ts";
import type { Asked, EngineAsker } from "./engine-asker.ts";
import { extraKeysOf } from "./media-items.ts";
import type { AnswerOutcome, LearnOutcome } from "./outcomes.ts";
import type { PromptTokenizer, PromptTokens } from "./prompt-tokenizer.ts";
import { readConversation } from "./read-conversation.ts";
import { readPrompt, type ReadPrompt } from "./read-prompt.ts";

/**
 * Least share of a prompt's content blocks whose ends are found in the engine's text. With fewer the text is
 * another, or its tokens are named in a way that is not known here.
 */
const FOUND_SHARE_MIN = 0.5;

/**
 * Tokens that are told of in any case. Content that settles no block is held with the first block of a prompt,
 * and engines' blocks are of up to so many tokens.
 */
const FIRST_BLOCK_TOKENS = 256;

/** A request that an engine answers. */
export interface LearnRequest extends ContentFacts {
  /** The engine's origin: scheme, host and port. */
  readonly endpoint: string;
  readonly path: string;
  readonly body: Uint8Array;
}

export interface LearnSetup {
  readonly engines: Pick<EngineAsker, "isAdapter">;
  readonly tokenizer: Pick<PromptTokenizer, "tokens" | "rendering" | "forget">;
  readonly tokensPerKey: number;
  /** Whether engines are asked to render prompts with media, for which they fetch and prepare these again. */
  readonly areMediaRendered: boolean;
}

/** What was learned, or why nothing was. */
export type Learned<Outcome = LearnOutcome> =
  | {
      readonly outcome: "learned";
      readonly content: LearnedContent;
      /** Content blocks from a media item on that stay unknown. */
      readonly mediaBlocks: number;
    }
  | { readonly outcome: Exclude<Outcome, "learned"> };

/** What the tokens are of: the whole prompt, or its beginning. */
interface KnownTokens extends PromptTokens {
  readonly bytes: number;
}

/** Never rejects for what a body or an engine says. */
export async function learnPrompt(job: LearnRequest, setup: LearnSetup): Promise<Learned> {
  const prompt = await readPrompt(job.path, job.body);
  if (prompt === undefined) return { outcome: "unreadable" };
  const contentKeys = keysOf(job, prompt.canonical);
  // A Worker of another release may write prompts otherwise; its keys are not these.
  if (!isKeyAt(contentKeys, contentKeys.length / 2, job.lastKey)) return { outcome: "other-keys" };
  return learnContent(job.endpoint, { prompt, contentKeys }, setup);
}

/** Whether the conversation with this last key is left alone, or is now being learned. */
export type TakeConversation = (lastKey: string) => boolean;

/**
 * Learns the conversation that an answer made of its prompt, and with it the prompt. `take` is asked before the engine
 * is. Never rejects for what a body or an engine says.
 */
export async function learnConversation(
  job: LearnRequest & { readonly answer: Uint8Array },
  setup: LearnSetup,
  take: TakeConversation,
): Promise<Learned<AnswerOutcome>> {
  const read = await readConversation(job.path, job.body, job.answer);
  if (!read.ok) return { outcome: read.why };
  const { prompt, promptBytes, contentBytes } = read;
  const contentKeys = keysOf(job, prompt.canonical.subarray(0, contentBytes));
  const promptBlocks = Math.floor(promptBytes / CONTENT_BLOCK_BYTES);
  const blocks = contentKeys.length / 2;
  if (!isKeyAt(contentKeys, Math.min(promptBlocks, blocks), job.lastKey)) {
    return { outcome: "other-keys" };
  }
  if (blocks <= promptBlocks) return { outcome: "short" };
  if (!take(keyHex(lastOf(contentKeys)))) return { outcome: "known" };
  return learnContent(job.endpoint, { prompt, contentKeys }, setup);
}

/** The last key of what was learned. */
export function lastOf(contentKeys: Uint32Array): KeyWords {
  return { low: contentKeys.at(-2)!, high: contentKeys.at(-1)! };
}

function keysOf({ root }: ContentFacts, canonical: Uint8Array): Uint32Array {
  const keys = createContentKeys(root);
  keys.update(canonical);
  return keys.keys();
}

/** Whether it is the key of the last of so many blocks. */
function isKeyAt(contentKeys: Uint32Array, blocks: number, { low, high }: KeyWords): boolean {
  return contentKeys[2 * blocks - 2] === low && contentKeys[2 * blocks - 1] === high;
}

interface Content {
  readonly prompt: ReadPrompt;
  /** What is behind their content is in the tokens, and is not learned. */
  readonly contentKeys: Uint32Array;
}

async function learnContent(
  endpoint: string,
  { prompt, contentKeys }: Content,
  setup: LearnSetup,
): Promise<Learned<LearnOutcome & AnswerOutcome>> {
  const isAdapter = await setup.engines.isAdapter(endpoint, prompt.model);
  if (!isAdapter.ok) return { outcome: isAdapter.why };
  const known = await tokensOf(endpoint, prompt, setup);
  if (known === undefined) return { outcome: "media" };
  if (!known.ok) return { outcome: known.why };
  const { ids, items, rendered, bytes } = known.value;
  const blocks = Math.min(contentKeys.length / 2, Math.floor(bytes / CONTENT_BLOCK_BYTES));
  const aligned = alignContent(prompt.canonical.subarray(0, bytes), rendered);
  if (aligned.foundBlocks < blocks * FOUND_SHARE_MIN) {
    setup.tokenizer.forget(prompt.model);
    return { outcome: "unaligned" };
  }
  const { tokensPerKey } = setup;
  const tokensMax = LEARNED_LIMITS.tokenKeysMax * tokensPerKey;
  // Content past the bound would seem to end there.
  const tokenCounts = aligned.tokenCounts.slice(0, blocks).filter((count) => count <= tokensMax);
  const settled = Math.max(tokenCounts.at(-1) ?? 0, FIRST_BLOCK_TOKENS);
  const tokenKeys = tokenBlockKeys({
    adapter: isAdapter.value ? prompt.model : null,
    tokens: ids.subarray(0, Math.min(settled, tokensMax)),
    blockSize: tokensPerKey,
    extraKeys: extraKeysOf(prompt.cacheSalt, items, tokensPerKey),
  });
  if (tokenKeys.length === 0 || tokenCounts.length === 0) return { outcome: "unaligned" };
  const named = contentKeys.slice(0, tokenCounts.length * 2);
  return {
    outcome: "learned",
    content: { tokensPerKey, contentKeys: named, tokenKeys, tokenCounts },
    mediaBlocks: contentKeys.length / 2 - blocks,
  };
}

/** Undefined where media begin before content has a block, and the engine does not render them. */
async function tokensOf(
  endpoint: string,
  prompt: ReadPrompt,
  { tokenizer, areMediaRendered }: LearnSetup,
): Promise<Asked<KnownTokens> | undefined> {
  const { canonical, learnableBytes: bytes, tokens } = prompt;
  if (prompt.rendering !== null && areMediaRendered) {
    const whole = await tokenizer.rendering(endpoint, prompt, prompt.rendering);
    if (whole.ok) return { ok: true, value: { ...whole.value, bytes: canonical.length } };
  }
  if (bytes < CONTENT_BLOCK_BYTES) return undefined;
  if (tokens.kind === "given") {
    const ids = Uint32Array.from(tokens.ids);
    const rendered = { text: canonical, tokenEnds: endsOfNumbers(tokens.ids) };
    return { ok: true, value: { ids, items: [], rendered, bytes } };
  }
  const asked = await tokenizer.tokens(endpoint, prompt, tokens.body);
  return asked.ok ? { ok: true, value: { ...asked.value, bytes } } : asked;
}

/** Where each id ends in the canonical form of them all: decimal numbers with commas between. */
function endsOfNumbers(ids: readonly number[]): Uint32Array {
  const ends = new Uint32Array(ids.length);
  let end = -1;
  for (const [i, id] of ids.entries()) ends[i] = end += 1 + String(id).length;
  return ends;
}

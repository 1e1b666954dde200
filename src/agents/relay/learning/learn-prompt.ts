// One prompt: from a request's body to what its content became on the engine that serves it.

import { CONTENT_BLOCK_BYTES, createContentKeys } from "../../../scheduler/kv/content-keys.ts";
import {
  alignContent,
  type RenderedPrompt,
} from "../../../scheduler/kv/residency/content-alignment.ts";
import { tokenBlockKeys } from "../../../scheduler/kv/residency/token-keys.ts";
import { LEARNED_LIMITS, type LearnedContent } from "../../learning/learned-message.ts";
import type { ContentFacts } from "../../protocol/content-header.ts";
import type { Asked, EngineAsker } from "./engine-asker.ts";
import type { LearnOutcome } from "./outcomes.ts";
import { readPrompt, type ReadPrompt } from "./read-prompt.ts";
import { decodeNames, namingOf } from "./token-names.ts";

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

/** A request that an engine has begun to answer. */
export interface LearnJob extends ContentFacts {
  /** The engine's `host:port`. */
  readonly endpoint: string;
  readonly path: string;
  readonly body: Uint8Array;
}

export type Learned =
  | { readonly outcome: "learned"; readonly content: LearnedContent }
  | { readonly outcome: Exclude<LearnOutcome, "learned"> };

interface PromptTokens {
  readonly ids: Uint32Array;
  readonly rendered: RenderedPrompt;
}

/** Never rejects for what a body or an engine says. */
export async function learnPrompt(
  job: LearnJob,
  engines: Pick<EngineAsker, "tokens" | "isAdapter">,
  tokensPerKey: number,
): Promise<Learned> {
  const prompt = await readPrompt(job.path, job.body);
  if (prompt === undefined) return { outcome: "unreadable" };
  const { canonical, learnableBytes } = prompt;
  const keys = createContentKeys(job.root);
  keys.update(canonical);
  const contentKeys = keys.keys();
  // A Worker of another release may write prompts otherwise; its keys are not these.
  if (contentKeys.at(-2) !== job.lastKey.low || contentKeys.at(-1) !== job.lastKey.high) {
    return { outcome: "other-keys" };
  }
  const blocks = Math.min(contentKeys.length / 2, Math.floor(learnableBytes / CONTENT_BLOCK_BYTES));
  if (blocks === 0) return { outcome: "media" };
  const isAdapter = await engines.isAdapter(job.endpoint, prompt.model);
  if (!isAdapter.ok) return { outcome: isAdapter.why };
  const tokens = await tokensOf(prompt, (body) => engines.tokens(job.endpoint, body));
  if (!tokens.ok) return { outcome: tokens.why };
  const { ids, rendered } = tokens.value;
  const aligned = alignContent(canonical.subarray(0, learnableBytes), rendered);
  if (aligned.foundBlocks < blocks * FOUND_SHARE_MIN) return { outcome: "unaligned" };
  const tokensMax = LEARNED_LIMITS.tokenKeysMax * tokensPerKey;
  // Content past the bound would seem to end there.
  const tokenCounts = aligned.tokenCounts.slice(0, blocks).filter((count) => count <= tokensMax);
  const settled = Math.max(tokenCounts.at(-1) ?? 0, FIRST_BLOCK_TOKENS);
  const tokenKeys = tokenBlockKeys({
    adapter: isAdapter.value ? prompt.model : null,
    tokens: ids.subarray(0, Math.min(settled, tokensMax)),
    blockSize: tokensPerKey,
    extraKeys: prompt.cacheSalt === null ? [] : [[{ kind: "text", text: prompt.cacheSalt }]],
  });
  if (tokenKeys.length === 0 || tokenCounts.length === 0) return { outcome: "unaligned" };
  const named = contentKeys.slice(0, tokenCounts.length * 2);
  return {
    outcome: "learned",
    content: { tokensPerKey, contentKeys: named, tokenKeys, tokenCounts },
  };
}

async function tokensOf(
  { tokens, canonical }: ReadPrompt,
  ask: (body: Readonly<Record<string, unknown>>) => ReturnType<EngineAsker["tokens"]>,
): Promise<Asked<PromptTokens>> {
  if (tokens.kind === "given") {
    const rendered = { text: canonical, tokenEnds: endsOfNumbers(tokens.ids) };
    return { ok: true, value: { ids: Uint32Array.from(tokens.ids), rendered } };
  }
  const asked = await ask(tokens.body);
  if (!asked.ok) return asked;
  const { ids, names } = asked.value;
  const rendered = decodeNames(names, namingOf(names));
  return { ok: true, value: { ids: Uint32Array.from(ids), rendered } };
}

/** Where each id ends in the canonical form of them all: decimal numbers with commas between. */
function endsOfNumbers(ids: readonly number[]): Uint32Array {
  const ends = new Uint32Array(ids.length);
  let end = -1;
  for (const [i, id] of ids.entries()) ends[i] = end += 1 + String(id).length;
  return ends;
}

// What a decision said to be cached where its request went, against what the engine reported.
//
//   content blocks   matched by the decision: 256 bytes of the canonical prompt each
//   held(i)          tokens that an engine reports which holds i of them: their settled tokens in whole
//                    engine blocks, at most all but the prompt's last token, which is always computed
//   error            content blocks between the matched ones and those whose held(i) is what was reported
//
// A match counts whole content blocks, so a report between held(i) and held(i + 1) is what holds i.

import { decodeNames, namingOf } from "../../src/agents/relay/learning/token-names.ts";
import { readPrompt } from "../../src/agents/relay/learning/read-prompt.ts";
import { alignContent } from "../../src/scheduler/kv/residency/content-alignment.ts";
import { CHAT_PATH } from "../conversation.ts";

/** Of the simulated engines. */
const ENGINE_BLOCK_TOKENS = 16;

/** One request: what was expected of the endpoint that served it, and what came. */
export interface Observation {
  readonly matchedBlocks: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** By content block: tokens settled by it and all before it. */
  readonly tokenCounts: Uint32Array;
}

export interface Judgement {
  /** Content blocks said too many; negative: too few. */
  readonly blocks: number;
  /** The same in tokens, as a match of whole content blocks can say it. */
  readonly tokens: number;
}

export function judge({
  matchedBlocks,
  promptTokens,
  cachedTokens,
  tokenCounts,
}: Observation): Judgement {
  const inBlocks = (tokens: number) => tokens - (tokens % ENGINE_BLOCK_TOKENS);
  const most = inBlocks(promptTokens - 1);
  const held = (i: number) => (i === 0 ? 0 : Math.min(most, inBlocks(tokenCounts[i - 1]!)));
  const { length } = tokenCounts;
  let last = 0;
  while (last < length && held(last + 1) <= cachedTokens) last++;
  let first = last;
  while (first > 0 && held(first - 1) === held(last)) first--;
  const matched = Math.min(matchedBlocks, length);
  const blocks = matched > last ? matched - last : Math.min(0, matched - first);
  return { blocks, tokens: blocks === 0 ? 0 : held(matched) - cachedTokens };
}

/** What the content blocks of a request's body become on an engine. */
export async function tokenCountsOf(body: string, engine: string): Promise<Uint32Array> {
  const prompt = await readPrompt(CHAT_PATH, Buffer.from(body));
  if (prompt?.tokens.kind !== "ask")
    throw new Error("the benchmark's own request is not understood");
  const response = await fetch(`${engine}/tokenize`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...prompt.tokens.body, return_token_strs: true }),
  });
  const { token_strs: names } = (await response.json()) as { token_strs: string[] };
  return alignContent(prompt.canonical, decodeNames(names, namingOf(names))).tokenCounts;
}

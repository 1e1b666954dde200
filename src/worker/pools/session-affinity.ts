// Which requests a client says belong together, in the words that clients already use.
//
//   1  prompt_cache_key      of the body: said for this purpose
//   2  a session header      SESSION_HEADERS, in their order
//   3  cache_control         of the body: the prefix up to the first mark
//
// The first that is there counts. The first mark, because later ones move with the conversation: what
// stands before it (tools, the system prompt) is what its requests share. Without any of them the choice
// goes by the prompt's own prefix.
//
// Source: OpenAI's and Anthropic's APIs; headers as Claude Code, OpenCode, Codex and Qwen Code send them,
// and llm-d's x-session-id. Values are hashed with their tenant, so that nobody joins another's session.

import { hashContentRoot } from "../../scheduler/kv/content-keys.ts";
import type { SessionAffinity } from "../../scheduler/pools/affinity.ts";
import type { Prepared } from "../parsers/parser.ts";

/** Longer values say nothing: no client's are. */
export const SESSION_VALUE_CHARS_MAX = 512;

/** What names a product comes before what anybody may send for something else. */
export const SESSION_HEADERS = [
  "x-claude-code-session-id",
  "x-opencode-session",
  "x-qwen-code-session-id",
  "x-session-affinity",
  "x-session-id",
  "session-id",
  // Codex of before 2026-03. Some proxies drop names with an underscore.
  "session_id",
] as const;

export interface AffinityHints {
  readonly tenant: string;
  /** The client's. */
  readonly headers: Pick<Headers, "get">;
  readonly promptCacheKey: string | undefined;
  readonly prepared: Pick<Prepared, "keys" | "markedBlocks">;
}

/** Undefined where the client says nothing of the kind. */
export function readSessionAffinity(hints: AffinityHints): SessionAffinity | undefined {
  const { tenant, headers, promptCacheKey, prepared } = hints;
  if (isUsable(promptCacheKey)) return hashed("prompt_cache_key", tenant, promptCacheKey);
  for (const name of SESSION_HEADERS) {
    const value = headers.get(name);
    if (isUsable(value)) return hashed("header", tenant, value);
  }
  const { keys, markedBlocks = 0 } = prepared;
  const end = Math.min(2 * markedBlocks, keys.length);
  // Less than a block has no key. Keys hold the tenant's salt wherever it shares no cache.
  if (end === 0) return undefined;
  return { source: "cache_control", low: keys[end - 2]!, high: keys[end - 1]! };
}

function isUsable(value: string | null | undefined): value is string {
  return typeof value === "string" && value !== "" && value.length <= SESSION_VALUE_CHARS_MAX;
}

function hashed(source: SessionAffinity["source"], tenant: string, value: string): SessionAffinity {
  return { source, ...hashContentRoot({ model: value, salt: tenant }) };
}

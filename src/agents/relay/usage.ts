// Token counts and finish reasons, read out of engines' answers wherever they stand.

import { z } from "zod";

const count = z.int().nonnegative();
const usageSchema = z.object({
  prompt_tokens: count,
  completion_tokens: count.nullish(),
  prompt_tokens_details: z.object({ cached_tokens: count.nullish() }).nullish(),
});

/** As the engine counted; null where it said nothing. */
export interface Usage {
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
}

export const UNKNOWN_USAGE: Usage = {
  promptTokens: null,
  cachedTokens: null,
  completionTokens: null,
};

/** Parses the JSON of a `usage` value; undefined if it is null or not usage. */
export function parseUsage(json: string): Usage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // Cut off, or not JSON: an engine's text is not to be trusted.
    return undefined;
  }
  const parsed = usageSchema.safeParse(value);
  if (!parsed.success) return undefined;
  return {
    promptTokens: parsed.data.prompt_tokens,
    cachedTokens: parsed.data.prompt_tokens_details?.cached_tokens ?? null,
    completionTokens: parsed.data.completion_tokens ?? null,
  };
}

/** Longest finish reason kept; OpenAI's own are at most 14 characters. */
const FINISH_REASON_CHARS_MAX = 64;
const FINISH_REASON_KEY = Buffer.from('"finish_reason"');

/**
 * The last string that is a `finish_reason` in `bytes`. A quoted key cannot occur inside a JSON
 * string, where its quotes would be escaped, so a search finds only real keys.
 */
export function lastFinishReason(bytes: Buffer): string | undefined {
  let found: string | undefined;
  for (let at = bytes.indexOf(FINISH_REASON_KEY); at !== -1;) {
    const from = at + FINISH_REASON_KEY.byteLength;
    const text = bytes.toString("latin1", from, from + FINISH_REASON_CHARS_MAX + 8);
    found = /^\s*:\s*"([a-z_]+)"/.exec(text)?.[1]?.slice(0, FINISH_REASON_CHARS_MAX) ?? found;
    at = bytes.indexOf(FINISH_REASON_KEY, from);
  }
  return found;
}

// Finish reasons, read out of engines' answers wherever they stand.

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

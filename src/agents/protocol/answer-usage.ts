// Token counts, as engines tell them in their answers.

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
  return readUsage(value);
}

/** By hand: a schema took several times as long, once a request and, from some engines, once an event. */
function readUsage(value: unknown): Usage | undefined {
  if (!isObject(value)) return undefined;
  if (value["prompt_tokens"] === undefined) return readInputUsage(value);
  const { prompt_tokens: promptTokens, completion_tokens: completionTokens = null } = value;
  const { prompt_tokens_details: details = null } = value;
  if (!isCount(promptTokens) || !isCountOrNull(completionTokens)) return undefined;
  if (details !== null && !isObject(details)) return undefined;
  const { cached_tokens: cachedTokens = null } = details ?? {};
  return isCountOrNull(cachedTokens) ? { promptTokens, cachedTokens, completionTokens } : undefined;
}

/**
 * As Responses and Messages count. Messages' input is what was not cached, and its streams tell the input first and
 * the output last.
 */
function readInputUsage(value: Readonly<Record<string, unknown>>): Usage | undefined {
  const { input_tokens: input = null, output_tokens: completionTokens = null } = value;
  const { cache_read_input_tokens: read = null, cache_creation_input_tokens: made = null } = value;
  const { input_tokens_details: details = null } = value;
  if (!isCountOrNull(input) || !isCountOrNull(completionTokens)) return undefined;
  if (!isCountOrNull(read) || !isCountOrNull(made)) return undefined;
  if (input === null && completionTokens === null) return undefined;
  if (details !== null && !isObject(details)) return undefined;
  const { cached_tokens: cachedTokens = read } = details ?? {};
  if (!isCountOrNull(cachedTokens)) return undefined;
  const promptTokens = input === null ? null : input + (read ?? 0) + (made ?? 0);
  return { promptTokens, cachedTokens, completionTokens };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCountOrNull(value: unknown): value is number | null {
  return value === null || isCount(value);
}

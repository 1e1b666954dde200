// Headers that a configuration names: which names there are, and which can do what they are for.

import { z } from "zod";

export const HEADER_NAME_CHARS_MAX = 128;

/** Token characters of RFC 9110, without upper case: names are compared in lower case. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]*$/;
const EXPECTED = "expected a header's name: letters, digits and dashes";

const text = z
  .string()
  .trim()
  .toLowerCase()
  .max(HEADER_NAME_CHARS_MAX)
  .regex(TOKEN, { error: EXPECTED });

/** A parameter that names a header. A platform throws on what is no name, in every request. */
export const headerName = text.min(1);
/** The same, where an empty name stands for something else. */
export const optionalHeaderName = text;

/** Headers of ours or llm-d's: only a trusted hop may say what they hold. */
export const INTERNAL_PREFIXES = ["x-fairlead-", "x-gateway-", "x-llm-d-"] as const;
const SECRET: readonly string[] = ["authorization", "proxy-authorization", "cookie"];

/** Whether the Worker tells plugins of a request's header with this name, in lower case. */
export function isRequestHeaderTold(name: string): boolean {
  return !SECRET.includes(name) && !INTERNAL_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/**
 * Headers of plugins begin with `x-`, so that none can change how an answer is read, kept or trusted;
 * ours and llm-d's own are not theirs to set.
 */
const SETTABLE = /^x-[a-z0-9-]{1,62}$/;
const RESERVED = ["x-request-id", ...INTERNAL_PREFIXES];

/** Whether a plugin may set an answer's header with this name, in lower case. */
export function isAnswerHeaderSet(name: string): boolean {
  return SETTABLE.test(name) && !RESERVED.some((reserved) => name.startsWith(reserved));
}

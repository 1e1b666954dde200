// Headers that the pool's plugins set on the client's answer, such as the token that brings a session
// back to its endpoint.

import { INTERNAL_HEADER_PREFIXES } from "../../agents/protocol/headers.ts";
import type { PickGrant } from "../../durable/contract.ts";

/** Of a grant; later ones are not looked at. */
export const GRANT_HEADERS_MAX = 8;
export const GRANT_HEADER_VALUE_CHARS_MAX = 1_024;

/**
 * Headers of plugins begin with `x-`, so that none can change how an answer is read, kept or trusted;
 * ours and llm-d's own are not theirs to set.
 */
const NAME = /^x-[a-z0-9-]{1,62}$/;
const RESERVED = ["x-request-id", ...INTERNAL_HEADER_PREFIXES];
const VALUE = /^[\x20-\x7e]+$/;

/** Those for an answer that `endpoint` gave; none if the grant does not name it. */
export function grantHeaders(
  { endpoints, responseHeaders = [] }: Pick<PickGrant, "endpoints" | "responseHeaders">,
  endpoint: string,
): Record<string, string> {
  const index = endpoints.findIndex((each) => each.toLowerCase() === endpoint.toLowerCase());
  if (index === -1) return {};
  const headers: [string, string][] = [];
  for (const { name, values } of responseHeaders.slice(0, GRANT_HEADERS_MAX)) {
    const value = values[index] ?? "";
    if (!NAME.test(name) || RESERVED.some((reserved) => name.startsWith(reserved))) continue;
    if (!VALUE.test(value) || value.length > GRANT_HEADER_VALUE_CHARS_MAX) continue;
    headers.push([name, value]);
  }
  return Object.fromEntries(headers);
}

// Headers that the pool's plugins set on the client's answer, such as the token that brings a session
// back to its endpoint.

import type { PickGrant } from "../../durable/contract.ts";
import { isAnswerHeaderSet } from "../../scheduler/header-names.ts";

/** Of a grant; later ones are not looked at. */
export const GRANT_HEADERS_MAX = 8;
export const GRANT_HEADER_VALUE_CHARS_MAX = 1_024;

const VALUE = /^[\x20-\x7e]+$/;

/** Those for an answer that `endpoint` gave; none if the grant does not name it. */
export function grantHeaders(
  { endpoints, responseHeaders = [] }: Pick<PickGrant, "endpoints" | "responseHeaders">,
  endpoint: string,
): Record<string, string> {
  if (responseHeaders.length === 0) return {};
  const index = endpoints.findIndex((each) => each.toLowerCase() === endpoint.toLowerCase());
  if (index === -1) return {};
  const headers: [string, string][] = [];
  for (const { name, values } of responseHeaders.slice(0, GRANT_HEADERS_MAX)) {
    const value = values[index] ?? "";
    if (!isAnswerHeaderSet(name)) continue;
    if (!VALUE.test(value) || value.length > GRANT_HEADER_VALUE_CHARS_MAX) continue;
    headers.push([name, value]);
  }
  return Object.fromEntries(headers);
}

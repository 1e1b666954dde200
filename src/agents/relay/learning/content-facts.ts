import { createHmac, timingSafeEqual, type KeyObject } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import {
  contentPayload,
  decodeContentHeader,
  type ContentFacts,
} from "../../protocol/content-header.ts";
import { CONTENT_HEADER, SIGNED } from "../../protocol/headers.ts";

/**
 * What the Worker says of the prompt's content keys. Undefined where it says nothing, or not with `key`, the
 * one of the request's signature: the request is good all the same, and nothing is learned from it.
 */
export function readContentFacts(
  headers: IncomingHttpHeaders,
  key: KeyObject,
): ContentFacts | undefined {
  const text = headers[CONTENT_HEADER];
  const signature = headers[SIGNED.signature];
  if (typeof text !== "string" || typeof signature !== "string") return undefined;
  const decoded = decodeContentHeader(text);
  if (decoded === undefined) return undefined;
  const { macHex, ...facts } = decoded;
  const expected = createHmac("sha256", key).update(contentPayload(facts, signature)).digest();
  return timingSafeEqual(expected, Buffer.from(macHex, "hex")) ? facts : undefined;
}

// Signs what goes to a relay, with Web Crypto.

import {
  contentPayload,
  encodeContentHeader,
  type ContentFacts,
} from "../../agents/protocol/content-header.ts";
import { CONTENT_HEADER } from "../../agents/protocol/headers.ts";
import {
  type SignedRequest,
  signaturePayload,
  signedHeaders,
} from "../../agents/protocol/signature.ts";
import { hex } from "../crypto.ts";

/** Imported keys an isolate keeps. Past it all are forgotten: rotation makes few. */
export const KEYS_MAX = 1_024;

const encoder = new TextEncoder();
const keys = new Map<string, CryptoKey>();

/** The headers that make a relay serve the request, and tell it about the prompt's content. */
export async function signRequest(
  request: SignedRequest,
  content: ContentFacts | undefined,
  secret: string,
): Promise<[string, string][]> {
  const key = keys.get(secret) ?? (await importKey(secret));
  const signature = await signText(signaturePayload(request), key);
  const headers = signedHeaders(request, signature);
  if (content !== undefined) {
    const mac = await signText(contentPayload(content, signature), key);
    headers.push([CONTENT_HEADER, encodeContentHeader(content, mac)]);
  }
  return headers;
}

async function signText(text: string, key: CryptoKey): Promise<string> {
  return hex(await crypto.subtle.sign("HMAC", key, encoder.encode(text)));
}

/** Two requests may import the same key at once; a key, unlike a promise, can be shared by all. */
async function importKey(secret: string): Promise<CryptoKey> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, [
    "sign",
  ]);
  if (keys.size >= KEYS_MAX) keys.clear();
  keys.set(secret, key);
  return key;
}

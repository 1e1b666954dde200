// Signs what goes to a relay, with Web Crypto.

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

/** The headers that make a relay serve the request. */
export async function signRequest(
  request: SignedRequest,
  secret: string,
): Promise<[string, string][]> {
  const payload = encoder.encode(signaturePayload(request));
  const signature = await crypto.subtle.sign("HMAC", await importedKey(secret), payload);
  return signedHeaders(request, hex(signature));
}

/** Two requests may import the same key at once; a key, unlike a promise, can be shared by all. */
async function importedKey(secret: string): Promise<CryptoKey> {
  const known = keys.get(secret);
  if (known !== undefined) return known;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, [
    "sign",
  ]);
  if (keys.size >= KEYS_MAX) keys.clear();
  keys.set(secret, key);
  return key;
}

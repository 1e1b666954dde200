// HMAC-SHA-256 (RFC 2104) of short texts under few keys, as two one-shot hashes. node:crypto's own makes an object
// for each text, which costs more than the hashing; one request is one text.

import { hash, type KeyObject } from "node:crypto";

/** Of SHA-256. */
const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;

/** A key's part of what is hashed. Its second half is overwritten with each text. */
interface Pads {
  readonly inner: Buffer;
  readonly outer: Buffer;
}

const PADS = new WeakMap<KeyObject, Pads>();

export function hmacSha256(key: KeyObject, text: string): Buffer {
  let pads = PADS.get(key);
  if (pads === undefined) PADS.set(key, (pads = padsOf(key)));
  const { inner, outer } = pads;
  const message = Buffer.concat([inner, Buffer.from(text)]);
  hash("sha256", message, "buffer").copy(outer, BLOCK_BYTES);
  return hash("sha256", outer, "buffer");
}

function padsOf(key: KeyObject): Pads {
  const secret = key.export();
  const bytes = Buffer.alloc(BLOCK_BYTES);
  (secret.byteLength > BLOCK_BYTES ? hash("sha256", secret, "buffer") : secret).copy(bytes);
  const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES);
  bytes.forEach((byte, at) => (outer[at] = byte ^ 0x5c));
  return { inner: Buffer.from(bytes.map((byte) => byte ^ 0x36)), outer };
}

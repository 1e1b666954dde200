// Digests and random numbers, by Web Crypto.

const encoder = new TextEncoder();

const HEX_OF_BYTE = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Lower-case hex. */
export function hex(bytes: ArrayBuffer | Uint8Array): string {
  const view = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  let text = "";
  for (let i = 0; i < view.length; i++) text += HEX_OF_BYTE[view[i]!]!;
  return text;
}

/** SHA-256 as lower-case hex; of a text, over its UTF-8 bytes. */
export async function sha256Hex(data: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = typeof data === "string" ? encoder.encode(data) : data;
  return hex(await crypto.subtle.digest("SHA-256", bytes));
}

/** Random bytes that the isolate has drawn and not given out: a call for each id takes ten times as long. */
const drawn = new Uint8Array(4_096);
let givenBytes = drawn.length;

/** Random lower-case hex of `bytes` bytes, for names: 4,096 at most. */
export function randomHex(bytes: number): string {
  // Not as the module is read: there are no random numbers then.
  if (givenBytes + bytes > drawn.length) {
    crypto.getRandomValues(drawn);
    givenBytes = 0;
  }
  let text = "";
  for (const end = givenBytes + bytes; givenBytes < end; givenBytes++)
    text += HEX_OF_BYTE[drawn[givenBytes]!]!;
  return text;
}

/**
 * Compares two secrets in a time that depends on neither, nor on their lengths: what is compared are
 * their digests.
 */
export async function secretsEqual(a: string, b: string): Promise<boolean> {
  const [digestA, digestB] = await Promise.all([digest(a), digest(b)]);
  return crypto.subtle.timingSafeEqual(digestA, digestB);
}

function digest(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", encoder.encode(text));
}

// What a Worker tells a relay about a prompt's content keys: the root that they begin with, and the last of
// them. A relay that learns knows by the last key whether there is anything to learn, without reading
// the prompt; if it does read it, the root gives it the same keys, and the last key shows that they are.
//
//   <root>.<last key>.<HMAC-SHA-256>     16, 16 and 64 digits of lower-case hex, high word first
//
// The HMAC has the key of the request's own signature, which it covers, and so all that one covers. It is one
// of its own: relays that do not know this header accept the request as it is.

/** Two words, as in content-keys.ts. */
export interface KeyWords {
  readonly low: number;
  readonly high: number;
}

export interface ContentFacts {
  readonly root: KeyWords;
  /** Of the prompt's last full block. */
  readonly lastKey: KeyWords;
}

/** The text both sides feed to HMAC-SHA-256. `signatureHex` is the request's. */
export function contentPayload(facts: ContentFacts, signatureHex: string): string {
  const { root, lastKey } = facts;
  return `fairlead-content-v1\n${signatureHex}\n${keyHex(root)}\n${keyHex(lastKey)}`;
}

export function encodeContentHeader({ root, lastKey }: ContentFacts, macHex: string): string {
  return `${keyHex(root)}.${keyHex(lastKey)}.${macHex}`;
}

export type DecodedContentHeader = ContentFacts & { readonly macHex: string };

/** Undefined for what is not such a header. */
export function decodeContentHeader(text: string): DecodedContentHeader | undefined {
  if (!/^[0-9a-f]{16}\.[0-9a-f]{16}\.[0-9a-f]{64}$/.test(text)) return undefined;
  const [root, lastKey, macHex] = text.split(".");
  return { root: wordsOf(root!), lastKey: wordsOf(lastKey!), macHex: macHex! };
}

/** 16 digits, the high word first. */
export function keyHex({ low, high }: KeyWords): string {
  return wordHex(high) + wordHex(low);
}

function wordHex(word: number): string {
  return word.toString(16).padStart(8, "0");
}

function wordsOf(hex: string): KeyWords {
  return { low: Number.parseInt(hex.slice(8), 16), high: Number.parseInt(hex.slice(0, 8), 16) };
}

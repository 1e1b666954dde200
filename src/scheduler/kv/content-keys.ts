// Content keys: what the router calls a prefix, without a tokenizer.
//
//   canonical prompt   |<- 256 bytes ->|<- 256 bytes ->| rest (no key) |
//   keys                      k1              k2
//   k0 = H(model, adapter, salt)      k(i) = mix(k(i-1), block(i))
//
// A key names its block and everything before it, so equal keys mean equal prefixes. Two 32-bit
// lanes run the body of MurmurHash3 (Austin Appleby, public domain) with different constants, over
// words of four bytes of UTF-8, lowest first: 64 bits in plain JavaScript numbers, no BigInt, no copy.
// docs/decisions/005-content-keys.md says why bytes of the canonical prompt and why 256.

/** Bytes of UTF-8 a block. A multiple of 4. */
export const CONTENT_BLOCK_BYTES = 256;
/** The usual estimate for English text and common tokenizers; other scripts come close in bytes. */
export const BYTES_PER_TOKEN = 4;
export const CONTENT_BLOCK_TOKENS = CONTENT_BLOCK_BYTES / BYTES_PER_TOKEN;
/** Keys of one prompt at most: 512 KiB. What is longer is known by its beginning. */
export const CONTENT_KEYS_MAX = 2048;

/** Everything an engine's own block hash depends on besides the text. */
export interface ContentKeyRoot {
  readonly model: string;
  /** LoRA adapter. */
  readonly adapter?: string;
  /** Tenant isolation and cache_salt. */
  readonly salt?: string;
}

/** A running computation over one prompt. */
export interface ContentKeys {
  /** Feeds the next part. Feeding "ab" equals feeding "a", then "b": separators are the caller's. */
  update(bytes: Uint8Array): void;
  /** Keys of the full blocks so far, two words each (low, high): a copy. */
  keys(): Uint32Array;
  /** Bytes fed so far, also those past the last key. */
  readonly byteCount: number;
}

function finalize(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

class ContentKeyHasher implements ContentKeys {
  #low: number;
  #high: number;
  /** The beginning of a block whose end has not come yet. */
  readonly #partial = new Uint8Array(CONTENT_BLOCK_BYTES);
  #partialBytes = 0;
  #keys = new Uint32Array(64);
  #keyCount = 0;
  #byteCount = 0;

  constructor(low: number, high: number) {
    this.#low = low;
    this.#high = high;
  }

  get byteCount(): number {
    return this.#byteCount;
  }

  // Hot path: decision-100k-tokens in bench/.
  update(bytes: Uint8Array): void {
    const { length } = bytes;
    this.#byteCount += length;
    let at = 0;
    if (this.#partialBytes > 0) {
      at = Math.min(length, CONTENT_BLOCK_BYTES - this.#partialBytes);
      this.#keep(bytes, 0, at);
      if (this.#partialBytes < CONTENT_BLOCK_BYTES) return;
      this.#partialBytes = 0;
      this.#addBlock(this.#partial, 0);
    }
    for (; at + CONTENT_BLOCK_BYTES <= length; at += CONTENT_BLOCK_BYTES) {
      if (this.#keyCount === CONTENT_KEYS_MAX) return;
      this.#addBlock(bytes, at);
    }
    this.#keep(bytes, at, length);
  }

  /** A loop: the pieces are short, and a view of each would take longer than to copy it. */
  #keep(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; at++) this.#partial[this.#partialBytes++] = bytes[at]!;
  }

  keys(): Uint32Array {
    return this.#keys.slice(0, this.#keyCount * 2);
  }

  #addBlock(bytes: Uint8Array, from: number): void {
    if (this.#keyCount === CONTENT_KEYS_MAX) return;
    let low = this.#low;
    let high = this.#high;
    for (let at = from; at < from + CONTENT_BLOCK_BYTES; at += 4) {
      const word =
        bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      let k = Math.imul(word, 0xcc9e2d51);
      k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
      low ^= k;
      low = (Math.imul((low << 13) | (low >>> 19), 5) + 0xe6546b64) | 0;
      k = Math.imul(word, 0x239b961b);
      k = Math.imul((k << 16) | (k >>> 16), 0xab0e9789);
      high ^= k;
      high = (Math.imul((high << 17) | (high >>> 15), 5) + 0x561ccd1b + low) | 0;
    }
    this.#low = finalize(low ^ CONTENT_BLOCK_BYTES) | 0;
    this.#high = finalize(high ^ this.#low) | 0;
    this.#push(this.#low >>> 0, this.#high >>> 0);
  }

  #push(low: number, high: number): void {
    if (this.#keyCount * 2 === this.#keys.length) {
      const grown = new Uint32Array(this.#keys.length * 2);
      grown.set(this.#keys);
      this.#keys = grown;
    }
    this.#keys[this.#keyCount * 2] = low;
    this.#keys[this.#keyCount * 2 + 1] = high;
    this.#keyCount++;
  }
}

/** Hash of a short string into one lane, for the root. */
function hashText(text: string, seed: number): number {
  let h = seed;
  for (let at = 0; at < text.length; at++) {
    h = Math.imul(h ^ text.charCodeAt(at), 0x01000193);
    h ^= h >>> 15;
  }
  return finalize(h ^ text.length);
}

/** A root as the keys begin with it: 64 bits in two words. */
export interface HashedContentRoot {
  readonly low: number;
  readonly high: number;
}

export function hashContentRoot(root: ContentKeyRoot): HashedContentRoot {
  // Lengths stand between the fields, so that no two roots read alike.
  const adapter = root.adapter ?? "";
  const salt = root.salt ?? "";
  const text = `${root.model.length}:${root.model}${adapter.length}:${adapter}${salt}`;
  return { low: hashText(text, 0x811c9dc5), high: hashText(text, 0x9747b28c) };
}

/** Starts the keys of one prompt. O(1) memory but for the keys themselves. */
export function createContentKeys(root: ContentKeyRoot | HashedContentRoot): ContentKeys {
  const { low, high } = "model" in root ? hashContentRoot(root) : root;
  return new ContentKeyHasher(low | 0, high | 0);
}

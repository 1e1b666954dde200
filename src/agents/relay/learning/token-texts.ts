// The bytes that tokens stand for, by id, as engines have named them. Where all of a prompt's tokens are known,
// its ids alone are asked for, which is less than half of the work for the engine and a tenth of it here.
//
//   id ──► offset     pool  │ length │ bytes │ length │ bytes │ …
//
// One for each model. A name that was another before means another tokenizer: all is forgotten.

import { decodeNames, namingOf, type NamedText, type TokenNaming } from "./token-names.ts";

export const TOKEN_TEXTS_LIMITS = {
  /** The largest vocabularies in use have as many. Past it all is forgotten. */
  tokensMax: 262_144,
  /** Of the pool. */
  bytesMax: 8 * 1024 * 1024,
  /** Longer tokens stay unknown. */
  tokenBytesMax: 0xffff,
} as const;

const FIRST_POOL_BYTES = 64 * 1024;
const LENGTH_BYTES = 2;
/** What the newest prompt adds to the share of prompts all of whose tokens were known. */
const NEWEST_WEIGHT = 0.1;
/** Ids in vain and names thereafter are half as much again as names at once: it must be worth trying. */
const KNOWN_SHARE_MIN = 0.6;
/** One of so many prompts is asked for with names in any case, to see that they are still the same. */
export const PROMPTS_PER_CHECK = 64;

export class TokenTexts {
  readonly #offsets = new Map<number, number>();
  #pool = new Uint8Array(FIRST_POOL_BYTES);
  #end = 0;
  #naming: TokenNaming | undefined;
  #knownShare = 0;
  #readSinceCheck = 0;

  /** Tokens that are known. */
  get size(): number {
    return this.#offsets.size;
  }

  get byteLength(): number {
    return this.#pool.byteLength;
  }

  /** Whether the next prompt is better asked for with names. */
  get areNamesWanted(): boolean {
    return this.#knownShare < KNOWN_SHARE_MIN || this.#readSinceCheck >= PROMPTS_PER_CHECK;
  }

  /**
   * The text of a prompt; undefined if one of its tokens is not known, but for those where
   * `isText` is 0.
   */
  read(ids: Uint32Array, isText?: Uint8Array): NamedText | undefined {
    this.#readSinceCheck++;
    const tokenEnds = new Uint32Array(ids.length);
    const pool = this.#pool;
    let text = new Uint8Array(ids.length * 8);
    let end = 0;
    for (let i = 0; i < ids.length; i++) {
      const offset = this.#offsets.get(ids[i]!);
      tokenEnds[i] = end;
      if (offset === undefined && isText?.[i] === 0) continue;
      if (offset === undefined) return this.#count(undefined);
      const length = this.#lengthAt(offset);
      if (end + length > text.length) text = resized(text, 2 * (end + length));
      // Tokens are short: a view of each would cost more than its bytes.
      const from = offset + LENGTH_BYTES;
      for (let at = 0; at < length; at++) text[end + at] = pool[from + at]!;
      end += length;
      tokenEnds[i] = end;
    }
    return this.#count({ text: text.subarray(0, end), tokenEnds });
  }

  /** The text of a prompt whose tokens were named, one name for each id. Learns them. */
  learn(ids: Uint32Array, names: readonly string[]): NamedText {
    this.#readSinceCheck = 0;
    const naming = namingOf(names, this.#naming);
    if (naming !== this.#naming) this.forget();
    this.#naming = naming;
    const named = decodeNames(names, naming);
    let isKnown = true;
    for (let i = 0; i < ids.length; i++) {
      const bytes = named.text.subarray(i === 0 ? 0 : named.tokenEnds[i - 1], named.tokenEnds[i]);
      const offset = this.#offsets.get(ids[i]!);
      if (offset !== undefined && this.#isAt(offset, bytes)) continue;
      isKnown = false;
      if (offset !== undefined) this.forget();
      this.#add(ids[i]!, bytes);
    }
    this.#count(isKnown ? named : undefined);
    return named;
  }

  /** They may be another tokenizer's. */
  forget(): void {
    this.#offsets.clear();
    this.#end = 0;
    this.#knownShare = 0;
  }

  #count(text: NamedText | undefined): NamedText | undefined {
    this.#knownShare += NEWEST_WEIGHT * ((text === undefined ? 0 : 1) - this.#knownShare);
    return text;
  }

  #add(id: number, bytes: Uint8Array): void {
    const { tokensMax, bytesMax, tokenBytesMax } = TOKEN_TEXTS_LIMITS;
    if (bytes.length > tokenBytesMax) return;
    const size = LENGTH_BYTES + bytes.length;
    if (this.#offsets.size === tokensMax || this.#end + size > bytesMax) this.forget();
    if (this.#end + size > this.#pool.length) {
      this.#pool = resized(this.#pool, Math.min(bytesMax, 2 * (this.#end + size)));
    }
    this.#offsets.set(id, this.#end);
    this.#pool[this.#end] = bytes.length & 0xff;
    this.#pool[this.#end + 1] = bytes.length >>> 8;
    this.#pool.set(bytes, this.#end + LENGTH_BYTES);
    this.#end += size;
  }

  #lengthAt(offset: number): number {
    return this.#pool[offset]! | (this.#pool[offset + 1]! << 8);
  }

  #isAt(offset: number, bytes: Uint8Array): boolean {
    if (this.#lengthAt(offset) !== bytes.length) return false;
    const from = offset + LENGTH_BYTES;
    for (let at = 0; at < bytes.length; at++) {
      if (this.#pool[from + at] !== bytes[at]) return false;
    }
    return true;
  }
}

function resized(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(size);
  copy.set(bytes);
  return copy;
}

// The bytes that tokens stand for, by id, as engines have named them. Where all of a prompt's tokens are known,
// its ids alone are asked for, which is less than half of the work for the engine and a tenth of it here.
//
//   id ──► offset     pool  │ length │ bytes │ length │ bytes │ …
//
// One for each model. A name that was another before means another tokenizer: all is forgotten.

import { decodeNames, namingOf, type NamedText, type TokenNaming } from "./token-names.ts";
import { findUnnamed } from "./unnamed-tokens.ts";

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
const NO_TEXT = new Uint8Array();
const NONE_FOUND: ReadonlyMap<number, Uint8Array> = new Map();
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
   * The text of a prompt; undefined if one of its tokens is not known, but for those where `isText` is 0. A few
   * that are not known are looked for in `canonical`, the canonical prompt.
   */
  read(ids: Uint32Array, canonical: Uint8Array, isText?: Uint8Array): NamedText | undefined {
    this.#readSinceCheck++;
    const found = this.#findUnnamed(ids, canonical, isText);
    this.#count(found !== undefined);
    return found === undefined ? undefined : this.#join(ids, found);
  }

  /** The text of a prompt whose tokens were named, one name for each id. Learns them. */
  learn(ids: Uint32Array, names: readonly string[], canonical: Uint8Array): NamedText {
    this.#readSinceCheck = 0;
    const naming = namingOf(names, this.#naming);
    if (naming !== this.#naming) this.forget();
    this.#naming = naming;
    // Whether the names could have been done without.
    this.#count(this.#findUnnamed(ids, canonical) !== undefined);
    const named = decodeNames(names, naming);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      const bytes = named.text.subarray(i === 0 ? 0 : named.tokenEnds[i - 1], named.tokenEnds[i]);
      const offset = this.#offsets.get(id);
      const isSame = offset !== undefined && this.#isAt(offset, bytes);
      if (isSame) continue;
      if (offset !== undefined) this.forget();
      this.#add(id, bytes);
    }
    return named;
  }

  /** They may be another tokenizer's. */
  forget(): void {
    this.#offsets.clear();
    this.#end = 0;
    this.#knownShare = 0;
  }

  #count(isKnown: boolean): void {
    this.#knownShare += NEWEST_WEIGHT * ((isKnown ? 1 : 0) - this.#knownShare);
  }

  /** Texts of tokens that are not known, by place; undefined where one is not found. */
  #findUnnamed(ids: Uint32Array, canonical: Uint8Array, isText?: Uint8Array) {
    // Nearly always.
    if (isText === undefined && ids.every((id) => this.#offsets.has(id))) return NONE_FOUND;
    return findUnnamed(canonical, ids.length, (place) => {
      return isText?.[place] === 0 ? NO_TEXT : this.#textOf(ids[place]!);
    });
  }

  /** Tokens that are neither known nor found have none. */
  #join(ids: Uint32Array, found: ReadonlyMap<number, Uint8Array>): NamedText {
    const tokenEnds = new Uint32Array(ids.length);
    const pool = this.#pool;
    let text = new Uint8Array(ids.length * 8);
    let end = 0;
    for (let i = 0; i < ids.length; i++) {
      const offset = this.#offsets.get(ids[i]!);
      const other = offset === undefined ? found.get(i) : undefined;
      const length = offset === undefined ? (other?.length ?? 0) : this.#lengthAt(offset);
      if (end + length > text.length) text = resized(text, 2 * (end + length));
      if (other !== undefined) text.set(other, end);
      // Tokens are short: a view of each would cost more than its bytes.
      const from = (offset ?? 0) + LENGTH_BYTES;
      if (offset !== undefined) {
        for (let at = 0; at < length; at++) text[end + at] = pool[from + at]!;
      }
      end += length;
      tokenEnds[i] = end;
    }
    return { text: text.subarray(0, end), tokenEnds };
  }

  #textOf(id: number): Uint8Array | undefined {
    const offset = this.#offsets.get(id);
    if (offset === undefined) return undefined;
    const from = offset + LENGTH_BYTES;
    return this.#pool.subarray(from, from + this.#lengthAt(offset));
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

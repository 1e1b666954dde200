// A piece of a prefix journal: what endpoints were learned to hold, in the order it was learned.
//
//   32-bit words   │ magic │ checksum │ Unix s │ record … │ record … │
//   record         │ endpoint number │ blocks │ low │ high │ low │ high │ …
//                    top bit of blocks: not held any more
//
// The checksum covers everything after it. Words are little-endian, as every machine we run on has
// them; a chunk of another order fails by its magic. Numbers name endpoints instead of slots,
// because a slot means nothing to the next life of the object.

import { CONTENT_KEYS_MAX } from "./content-keys.ts";

/** 4,096 blocks: what an object puts back at a time. The longest path takes half of it. */
export const CHUNK_BYTES_MAX = 32 * 1024;

const CHUNK_WORDS = CHUNK_BYTES_MAX / 4;
const MAGIC = 0x314a4c46;
const HEADER_WORDS = 3;
const RECORD_HEADER_WORDS = 2;
const REMOVED = 0x8000_0000;

/** Blocks of one endpoint. `keys` is a view into the chunk. */
export interface JournalRecord {
  readonly endpoint: number;
  readonly isRemoval: boolean;
  readonly keys: Uint32Array;
}

/** A chunk under construction. */
export class JournalChunk {
  readonly #words = new Uint32Array(CHUNK_WORDS);
  #length = HEADER_WORDS;

  get isEmpty(): boolean {
    return this.#length === HEADER_WORDS;
  }

  get byteLength(): number {
    return this.#length * 4;
  }

  /** How many blocks one more record may have. */
  get roomBlocks(): number {
    const freeWords = Math.max(0, CHUNK_WORDS - this.#length - RECORD_HEADER_WORDS);
    return Math.min(CONTENT_KEYS_MAX, freeWords >>> 1);
  }

  /** The record's blocks must fit into `roomBlocks`. */
  append({ endpoint, isRemoval, keys }: JournalRecord): void {
    const blocks = keys.length >>> 1;
    this.#words[this.#length] = endpoint;
    this.#words[this.#length + 1] = isRemoval ? blocks | REMOVED : blocks;
    this.#words.set(keys, this.#length + RECORD_HEADER_WORDS);
    this.#length += RECORD_HEADER_WORDS + keys.length;
  }

  /** A copy for storage, as of `nowMs`. More may be appended and sealed again. */
  seal(nowMs: number): Uint8Array<ArrayBuffer> {
    const words = this.#words.slice(0, this.#length);
    words[0] = MAGIC;
    words[2] = Math.floor(nowMs / 1_000);
    words[1] = checksum(words);
    return new Uint8Array(words.buffer);
  }

  clear(): void {
    this.#length = HEADER_WORDS;
  }
}

export interface DecodedChunk {
  readonly writtenAtMs: number;
  readonly records: readonly JournalRecord[];
}

/** Undefined for anything that is not a whole chunk as it was sealed. */
export function decodeJournalChunk(stored: unknown): DecodedChunk | undefined {
  if (!(stored instanceof Uint8Array) || stored.byteLength > CHUNK_BYTES_MAX) return undefined;
  if (stored.byteLength % 4 !== 0 || stored.byteLength < HEADER_WORDS * 4) return undefined;
  // A copy: views of words need an aligned start.
  const words = new Uint32Array(stored.slice().buffer);
  if (words[0] !== MAGIC || words[1] !== checksum(words)) return undefined;
  const records: JournalRecord[] = [];
  let at = HEADER_WORDS;
  while (at < words.length) {
    const blocks = words[at + 1]! & ~REMOVED;
    const end = at + RECORD_HEADER_WORDS + blocks * 2;
    if (blocks > CONTENT_KEYS_MAX || end > words.length) return undefined;
    records.push({
      endpoint: words[at]!,
      isRemoval: (words[at + 1]! & REMOVED) !== 0,
      keys: words.subarray(at + RECORD_HEADER_WORDS, end),
    });
    at = end;
  }
  return { writtenAtMs: words[2]! * 1_000, records };
}

/** FNV-1a over words. Against damage, not against an attacker: nobody else writes an object's rows. */
function checksum(words: Uint32Array): number {
  let hash = 0x811c9dc5;
  for (let i = 2; i < words.length; i++) {
    hash = Math.imul(hash ^ words[i]!, 0x01000193);
    hash ^= hash >>> 15;
  }
  return hash >>> 0;
}

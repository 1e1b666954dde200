// An isolate's copy of what single endpoints of a pool hold: a digest over pairs of a content key and a slot.
//
//   keys of a prompt     k1  k2  k3  k4  k5  k6 …
//   endpoint 3           yes yes yes no               a walk for each endpoint, up to its first no
//   endpoint 7           no
//
// There is no false no for a pair that was there when the digest, or the last addition to it, was made: an
// endpoint held no more than up to its first no (`bounds`). What it is likely to hold takes off what walks go
// too far by in the mean, as CacheDigest does.
//
// O(endpoints + blocks matched by each). What endpoints share is walked for each: a system prompt of 30 blocks
// at 64 endpoints costs 2,000 steps of a few nanoseconds.

import { CONTENT_KEYS_MAX } from "../kv/content-keys.ts";
import { BloomBits } from "../kv/digest/bloom-bits.ts";
import { FLAG_INCOMPLETE, readHeader, runOnBlocks } from "../kv/digest/layout.ts";
import { pairHigh } from "../kv/pair-words.ts";

/** A digest that says yes more often says yes to nearly everything: nothing is concluded from that. */
const FALSE_POSITIVE_RATE_MAX = 0.9;

export class PairDigest {
  readonly byteLength: number;
  readonly #isComplete: boolean;
  readonly #sampling: number;
  readonly #bits: BloomBits;
  #setBits: number;
  #falsePositiveRate: number;
  #runOnBlocks: number;
  // Of the prompt that is asked about: its blocks in the sample, and how many these are.
  readonly #blocks = new Int32Array(CONTENT_KEYS_MAX);
  readonly #lows = new Uint32Array(CONTENT_KEYS_MAX);
  readonly #highs = new Uint32Array(CONTENT_KEYS_MAX);
  #sampled = 0;
  #blockCount = 0;

  private constructor(header: DataView, bits: Uint8Array) {
    this.byteLength = bits.length;
    this.#bits = new BloomBits(bits, header.getUint8(2));
    this.#isComplete = (header.getUint8(3) & FLAG_INCOMPLETE) === 0;
    this.#sampling = header.getUint32(4, true);
    this.#setBits = this.#bits.countSet();
    this.#falsePositiveRate = this.#bits.falsePositiveRate(this.#setBits);
    this.#runOnBlocks = runOnBlocks(this.#falsePositiveRate, this.#sampling);
  }

  /** Copies the bytes. Undefined for those that are no digest, or one of a later layout. */
  static decode(bytes: Uint8Array): PairDigest | undefined {
    const parts = readHeader(bytes.slice());
    return parts && new PairDigest(parts.header, parts.bits);
  }

  get falsePositiveRate(): number {
    return this.#falsePositiveRate;
  }

  /** Pairs that came since, as the object's digest has taken them up. O(words). */
  add(words: Uint32Array): void {
    for (let at = 0; at + 1 < words.length; at += 2)
      this.#setBits += this.#bits.add(words[at]!, words[at + 1]!);
    this.#falsePositiveRate = this.#bits.falsePositiveRate(this.#setBits);
    this.#runOnBlocks = runOnBlocks(this.#falsePositiveRate, this.#sampling);
  }

  /** The prompt that is asked about next. */
  ask(keys: Uint32Array): void {
    this.#blockCount = Math.min(keys.length >>> 1, CONTENT_KEYS_MAX);
    let sampled = 0;
    for (let block = 0; block < this.#blockCount; block++) {
      const low = keys[block * 2]!;
      if (low % this.#sampling !== 0) continue;
      this.#blocks[sampled] = block;
      this.#lows[sampled] = low;
      this.#highs[sampled] = keys[block * 2 + 1]!;
      sampled += 1;
    }
    this.#sampled = sampled;
  }

  /** Writes of an endpoint how many blocks of the prompt it is likely to hold, and at most. */
  // Hot path: pair-digest in bench/.
  match(slot: number, likely: Int32Array, bounds: Int32Array): void {
    let i = 0;
    while (i < this.#sampled && this.#bits.has(this.#lows[i]!, pairHigh(this.#highs[i]!, slot)))
      i++;
    const end = i < this.#sampled ? this.#blocks[i]! : this.#blockCount;
    const known = i === 0 ? 0 : this.#blocks[i - 1]! + 1;
    bounds[slot] = this.#isComplete ? end : this.#blockCount;
    likely[slot] =
      this.#falsePositiveRate > FALSE_POSITIVE_RATE_MAX
        ? 0
        : Math.max(0, Math.round((known + end) / 2 - this.#runOnBlocks));
  }
}

// What a pool's caches hold, small enough to be sent around: a Bloom filter over a sample of the content
// keys that are resident anywhere in the pool.
//
//   keys of a prompt    k1  k2  k3  k4  k5  k6  k7  k8  k9
//   in the sample            ●           ●       ●       ●      low word mod s = 0
//   in the filter            yes         yes     no              the end lies from k5 up to k6
//
// There is no false "no": a key that was added is found. A match is therefore never longer than
// `matchedBlocksMax` says, as of the moment of the digest. A false "yes" makes the walk go on, at each
// step with the same small probability, so `matchedBlocks` takes off what it goes too far in the mean.
//
// The walk is along the chain and ends at the first no. A binary search needs fewer steps, but each
// wrong yes leads it to the far half; and a block that was evicted from the middle ends a match in the
// engine, which a search that jumps over it does not see. Of an evicted middle that is not in the sample
// nothing is seen here either. What is resident in parts at several endpoints counts as one: the match is
// that of the pool, and no single endpoint need have all of it.
//
// O(blocks matched). 32 KiB of bits stay in the processor's nearest cache: `digest` in bench/.

import { CONTENT_KEYS_MAX } from "../content-keys.ts";
import { BloomBits } from "./bloom-bits.ts";
import { FLAG_INCOMPLETE, readHeader, runOnBlocks } from "./layout.ts";

/** A filter with a higher rate says yes to nearly everything: it is not asked. */
const FALSE_POSITIVE_RATE_MAX = 0.9;

export class CacheDigest {
  /** One key in so many is in it. */
  readonly sampling: number;
  /** Keys that it stands for, those that sampling left out included; about. */
  readonly keyCount: number;
  /** All that the pool's object knew. False: a match may be longer than the digest knows. */
  readonly isComplete: boolean;
  /** Of a key that nobody added, by the bits that are set: as measured. */
  readonly falsePositiveRate: number;
  /** A view of the bytes it was decoded from. */
  readonly #bits: BloomBits;
  readonly #runOnBlocks: number;

  private constructor(header: DataView, bits: Uint8Array) {
    this.#bits = new BloomBits(bits, header.getUint8(2));
    this.isComplete = (header.getUint8(3) & FLAG_INCOMPLETE) === 0;
    this.sampling = header.getUint32(4, true);
    this.keyCount = header.getUint32(8, true);
    this.falsePositiveRate = this.#bits.falsePositiveRate(this.#bits.countSet());
    this.#runOnBlocks = runOnBlocks(this.falsePositiveRate, this.sampling);
  }

  /**
   * Undefined for bytes that are no digest, or one of a later layout. The digest reads the bytes as long as
   * it lives: the caller does not change them.
   */
  static decode(bytes: Uint8Array): CacheDigest | undefined {
    const parts = readHeader(bytes);
    return parts && new CacheDigest(parts.header, parts.bits);
  }

  /** How many blocks of the path, from its first, are likely to be resident in the pool. */
  // Hot path: digest in bench/.
  matchedBlocks(keys: Uint32Array): number {
    if (this.falsePositiveRate > FALSE_POSITIVE_RATE_MAX) return 0;
    const count = Math.min(keys.length >>> 1, CONTENT_KEYS_MAX);
    let known = 0;
    let at = 0;
    for (; at < count; at++) {
      const low = keys[at * 2]!;
      if (low % this.sampling !== 0) continue;
      if (!this.#bits.has(low, keys[at * 2 + 1]!)) break;
      known = at + 1;
    }
    // The end may be anywhere between the last that is there and the first that is not.
    const likely = (known + at) / 2 - this.#runOnBlocks;
    return Math.max(0, Math.round(likely));
  }

  /**
   * No endpoint of the pool held more of the path when the digest was made; all of it where the digest
   * cannot say.
   */
  matchedBlocksMax(keys: Uint32Array): number {
    const count = keys.length >>> 1;
    if (!this.isComplete) return count;
    for (let at = 0; at < count; at++) {
      const low = keys[at * 2]!;
      if (low % this.sampling === 0 && !this.#bits.has(low, keys[at * 2 + 1]!)) return at;
    }
    return count;
  }
}

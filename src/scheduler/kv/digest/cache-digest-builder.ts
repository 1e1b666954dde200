// Makes a CacheDigest. Keys can be added until the builder is given up, also after `encode`; nothing can be
// taken out: whoever wants that begins a new one.

import { BloomBits } from "./bloom-bits.ts";
import {
  CACHE_DIGEST_LIMITS,
  cutFor,
  FLAG_INCOMPLETE,
  HEADER_BYTES,
  LAYOUT_VERSION,
  MAGIC,
} from "./layout.ts";

export interface CacheDigestBuilderOptions {
  /** About how many distinct keys will come. More may: then matches are less exact, and none is missed. */
  readonly keyCount: number;
  /** Of its bits, rounded down to a power of two; CACHE_DIGEST_LIMITS says what is allowed. */
  readonly bytesMax?: number;
}

export class CacheDigestBuilder {
  readonly #bytes: Uint8Array;
  readonly #header: DataView;
  readonly #bits: BloomBits;
  readonly #sampling: number;

  constructor({
    keyCount,
    bytesMax = CACHE_DIGEST_LIMITS.bytesDefault,
  }: CacheDigestBuilderOptions) {
    const { bitBytes, hashes, sampling } = cutFor(keyCount, bytesMax);
    this.#sampling = sampling;
    this.#bytes = new Uint8Array(HEADER_BYTES + bitBytes);
    this.#bits = new BloomBits(this.#bytes.subarray(HEADER_BYTES), hashes);
    this.#header = new DataView(this.#bytes.buffer, 0, HEADER_BYTES);
    this.#header.setUint8(0, MAGIC);
    this.#header.setUint8(1, LAYOUT_VERSION);
    this.#header.setUint8(2, hashes);
    this.#header.setUint32(4, sampling, true);
    this.#header.setUint32(8, Math.min(0xffff_ffff, Math.ceil(keyCount)), true);
  }

  /** Keys of an inference request: two words each, low and high. */
  addKeys(keys: Uint32Array): void {
    for (let at = 0; at + 1 < keys.length; at += 2) this.add(keys[at]!, keys[at + 1]!);
  }

  /** True if the digest has changed. */
  // Hot path: digest in bench/.
  add(low: number, high: number): boolean {
    return low % this.#sampling === 0 && this.#bits.add(low, high) > 0;
  }

  /** Something that the pool knows was not added: nobody may conclude anything from what is not found. */
  leaveOut(): void {
    this.#header.setUint8(3, FLAG_INCOMPLETE);
  }

  get byteLength(): number {
    return this.#bytes.length;
  }

  /** A copy, as of now. */
  encode(): Uint8Array {
    return this.#bytes.slice();
  }
}

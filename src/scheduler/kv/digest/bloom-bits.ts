// The bits of a Bloom filter over keys of two words each. Their number is a power of two.

import { strideOf } from "./layout.ts";

export class BloomBits {
  readonly #bits: Uint8Array;
  readonly #bitMask: number;
  readonly #hashes: number;

  /** A view of `bits`: its owner does not change them but by `add`. */
  constructor(bits: Uint8Array, hashes: number) {
    this.#bits = bits;
    this.#bitMask = bits.length * 8 - 1;
    this.#hashes = hashes;
  }

  /** Gives how many bits it has set anew: 0 for a key that was there, as far as the filter can tell. */
  // Hot path: digest in bench/.
  add(low: number, high: number): number {
    const stride = strideOf(low);
    let set = 0;
    let at = high;
    for (let i = 0; i < this.#hashes; i++) {
      const bit = at & this.#bitMask;
      const mask = 1 << (bit & 7);
      if ((this.#bits[bit >>> 3]! & mask) === 0) set += 1;
      this.#bits[bit >>> 3]! |= mask;
      at = (at + stride) | 0;
    }
    return set;
  }

  // Hot path: digest and pair-digest in bench/.
  has(low: number, high: number): boolean {
    const stride = strideOf(low);
    let at = high;
    for (let i = 0; i < this.#hashes; i++) {
      const bit = at & this.#bitMask;
      if ((this.#bits[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
      at = (at + stride) | 0;
    }
    return true;
  }

  /** Bits that are set. O(bits). */
  countSet(): number {
    return countSet(this.#bits);
  }

  /** Of a key that nobody added, where so many bits are set. */
  falsePositiveRate(setBits: number): number {
    return (setBits / (this.#bits.length * 8)) ** this.#hashes;
  }
}

function countSet(bits: Uint8Array): number {
  const { buffer, byteOffset, length } = bits;
  const words =
    byteOffset % 4 === 0
      ? new Uint32Array(buffer, byteOffset, length / 4)
      : new Uint32Array(bits.slice().buffer);
  let count = 0;
  for (let i = 0; i < words.length; i++) {
    // Counts of pairs, of four and of eight bits, then of all.
    let n = words[i]!;
    n -= (n >>> 1) & 0x5555_5555;
    n = (n & 0x3333_3333) + ((n >>> 2) & 0x3333_3333);
    n = (n + (n >>> 4)) & 0x0f0f_0f0f;
    count += Math.imul(n, 0x0101_0101) >>> 24;
  }
  return count;
}

// Who holds a block: a set of endpoint slots packed into one 32-bit word where it is small, and
// into a pool where it is not. Every holder has a reference bit for the CLOCK of its endpoint.
//
//   inline  0 0 . . r bbbbbbbbbbb . . . . r aaaaaaaaaaa     up to two holders, slot + 1 each
//           31      27 26       16         11 10        0
//   small   1 0 index in #small                             up to eight: u16 each, slot + 1 and r
//   large   1 1 index in #large                             any: a bit plane, and a plane of r
//
// A set grows small → large when it must, and shrinks again when few are left, so that a block
// everybody held once does not keep 256 bytes for ever. The word 0 is the empty set.

import { SlabPool } from "./slab-pool.ts";

const SLOT_MASK = 0x7ff;
const REF_A = 0x800;
const SHIFT_B = 16;
const REF_B = REF_A << SHIFT_B;
const POOLED = 0x8000_0000;
const LARGE = 0x4000_0000;
const INDEX_MASK = 0x3fff_ffff;

/** Holders in a small set: eight u16 in four words. */
const SMALL_HOLDERS = 8;
const SMALL_WORDS = SMALL_HOLDERS / 2;
/** A large set with this few holders becomes a small one. */
const SHRINK_AT = 4;

function bitCount(word: number): number {
  let v = word - ((word >>> 1) & 0x5555_5555);
  v = (v & 0x3333_3333) + ((v >>> 2) & 0x3333_3333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/**
 * The sets of one tree. Methods take a set's word and return its new word, which the caller stores;
 * the old word is dead then. `slotsMax` fixes the width of the bit planes.
 */
export class HolderSets {
  /** Words of a bit plane over all slots. */
  readonly planeWords: number;
  readonly #bytesMax: number;
  readonly #small: SlabPool;
  readonly #large: SlabPool;
  readonly #scratch = new Uint16Array(SMALL_HOLDERS);

  constructor(slotsMax: number, bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.planeWords = Math.ceil(slotsMax / 32);
    this.#small = new SlabPool(SMALL_WORDS);
    this.#large = new SlabPool(this.planeWords * 2);
  }

  get byteLength(): number {
    return this.#small.byteLength + this.#large.byteLength;
  }

  /** Whether `add` to this set stays within the byte bound. */
  canAdd(set: number): boolean {
    if ((set & POOLED) === 0) {
      if ((set & SLOT_MASK) === 0 || ((set >>> SHIFT_B) & SLOT_MASK) === 0) return true;
      return this.#small.hasFree || this.byteLength + this.#small.slabBytes <= this.#bytesMax;
    }
    if ((set & LARGE) !== 0 || this.#findSmall(set, 0) >= 0) return true;
    return this.#large.hasFree || this.byteLength + this.#large.slabBytes <= this.#bytesMax;
  }

  has(set: number, slot: number): boolean {
    const holder = slot + 1;
    if ((set & POOLED) === 0) {
      return (set & SLOT_MASK) === holder || ((set >>> SHIFT_B) & SLOT_MASK) === holder;
    }
    if ((set & LARGE) === 0) return this.#findSmall(set, holder) >= 0;
    const plane = this.#large.slab(set & INDEX_MASK);
    const at = this.#large.offset(set & INDEX_MASK);
    return ((plane[at + (slot >>> 5)]! >>> (slot & 31)) & 1) === 1;
  }

  /** Adds a holder the set does not have. Its reference bit is clear. */
  add(set: number, slot: number): number {
    const holder = slot + 1;
    if ((set & POOLED) === 0) {
      if ((set & SLOT_MASK) === 0) return set | holder;
      if (((set >>> SHIFT_B) & SLOT_MASK) === 0) return set | (holder << SHIFT_B);
      return this.#inlineToSmall(set, holder);
    }
    if ((set & LARGE) === 0) {
      const free = this.#findSmall(set, 0);
      if (free >= 0) {
        this.#writeSmall(set & INDEX_MASK, free, holder);
        return set;
      }
      return this.add(this.#smallToLarge(set), slot);
    }
    const index = set & INDEX_MASK;
    const at = this.#large.offset(index) + (slot >>> 5);
    this.#large.slab(index)[at]! |= 1 << (slot & 31);
    return set;
  }

  /** Removes a holder the set has. Returns 0 when it was the last one. */
  remove(set: number, slot: number): number {
    const holder = slot + 1;
    if ((set & POOLED) === 0) {
      if ((set & SLOT_MASK) === holder) return set & ~(SLOT_MASK | REF_A);
      return set & ~((SLOT_MASK << SHIFT_B) | REF_B);
    }
    const index = set & INDEX_MASK;
    if ((set & LARGE) === 0) {
      this.#writeSmall(index, this.#findSmall(set, holder), 0);
      return this.#shrinkSmall(set);
    }
    const slab = this.#large.slab(index);
    const at = this.#large.offset(index) + (slot >>> 5);
    slab[at]! &= ~(1 << (slot & 31));
    slab[at + this.planeWords]! &= ~(1 << (slot & 31));
    return this.#shrinkLarge(set);
  }

  /** Sets the reference bit of a holder the set has. */
  reference(set: number, slot: number): number {
    const holder = slot + 1;
    if ((set & POOLED) === 0) return (set & SLOT_MASK) === holder ? set | REF_A : set | REF_B;
    const index = set & INDEX_MASK;
    if ((set & LARGE) === 0) {
      this.#writeSmall(index, this.#findSmall(set, holder), holder | REF_A);
      return set;
    }
    const at = this.#large.offset(index) + this.planeWords + (slot >>> 5);
    this.#large.slab(index)[at]! |= 1 << (slot & 31);
    return set;
  }

  isReferenced(set: number, slot: number): boolean {
    const holder = slot + 1;
    if ((set & POOLED) === 0) {
      return (set & ((set & SLOT_MASK) === holder ? REF_A : REF_B)) !== 0;
    }
    const index = set & INDEX_MASK;
    if ((set & LARGE) === 0) {
      return (this.#readSmall(index, this.#findSmall(set, holder)) & REF_A) !== 0;
    }
    const at = this.#large.offset(index) + this.planeWords + (slot >>> 5);
    return ((this.#large.slab(index)[at]! >>> (slot & 31)) & 1) === 1;
  }

  /** Clears the reference bit of a holder the set has. */
  unreference(set: number, slot: number): number {
    const holder = slot + 1;
    if ((set & POOLED) === 0) return (set & SLOT_MASK) === holder ? set & ~REF_A : set & ~REF_B;
    const index = set & INDEX_MASK;
    if ((set & LARGE) === 0) {
      this.#writeSmall(index, this.#findSmall(set, holder), holder);
      return set;
    }
    const at = this.#large.offset(index) + this.planeWords + (slot >>> 5);
    this.#large.slab(index)[at]! &= ~(1 << (slot & 31));
    return set;
  }

  /** Writes the set into a bit plane of `words` words, which it clears first. */
  // Hot path: prefix-tree in bench/.
  toPlane(set: number, out: Uint32Array, words: number): void {
    if ((set & POOLED) !== 0 && (set & LARGE) !== 0) {
      const index = set & INDEX_MASK;
      const slab = this.#large.slab(index);
      const at = this.#large.offset(index);
      for (let w = 0; w < words; w++) out[w] = slab[at + w]!;
      return;
    }
    for (let w = 0; w < words; w++) out[w] = 0;
    if ((set & POOLED) !== 0) {
      const index = set & INDEX_MASK;
      for (let i = 0; i < SMALL_HOLDERS; i++) {
        const slot = (this.#readSmall(index, i) & SLOT_MASK) - 1;
        if (slot >= 0) out[slot >>> 5]! |= 1 << (slot & 31);
      }
      return;
    }
    const a = (set & SLOT_MASK) - 1;
    if (a >= 0) out[a >>> 5]! |= 1 << (a & 31);
    const b = ((set >>> SHIFT_B) & SLOT_MASK) - 1;
    if (b >= 0) out[b >>> 5]! |= 1 << (b & 31);
  }

  #readSmall(index: number, i: number): number {
    const word = this.#small.slab(index)[this.#small.offset(index) + (i >>> 1)]!;
    return (i & 1) === 0 ? word & 0xffff : word >>> 16;
  }

  #writeSmall(index: number, i: number, value: number): void {
    const slab = this.#small.slab(index);
    const at = this.#small.offset(index) + (i >>> 1);
    const word = slab[at]!;
    slab[at] = (i & 1) === 0 ? (word & 0xffff_0000) | value : (word & 0xffff) | (value << 16);
  }

  /** Place of `holder` (0: of a free place) in a small set, or -1. */
  #findSmall(set: number, holder: number): number {
    for (let i = 0; i < SMALL_HOLDERS; i++) {
      if ((this.#readSmall(set & INDEX_MASK, i) & SLOT_MASK) === holder) return i;
    }
    return -1;
  }

  #inlineToSmall(set: number, holder: number): number {
    const index = this.#small.take();
    this.#writeSmall(index, 0, set & (SLOT_MASK | REF_A));
    this.#writeSmall(index, 1, (set >>> SHIFT_B) & (SLOT_MASK | REF_A));
    this.#writeSmall(index, 2, holder);
    return POOLED | index;
  }

  #smallToLarge(set: number): number {
    const from = set & INDEX_MASK;
    const index = this.#large.take();
    const slab = this.#large.slab(index);
    const at = this.#large.offset(index);
    for (let i = 0; i < SMALL_HOLDERS; i++) {
      const value = this.#readSmall(from, i);
      const slot = (value & SLOT_MASK) - 1;
      if (slot < 0) continue;
      slab[at + (slot >>> 5)]! |= 1 << (slot & 31);
      if ((value & REF_A) !== 0) {
        slab[at + this.planeWords + (slot >>> 5)]! |= 1 << (slot & 31);
      }
    }
    this.#small.free(from);
    return POOLED | LARGE | index;
  }

  /** Back to inline when two or fewer are left. */
  #shrinkSmall(set: number): number {
    const index = set & INDEX_MASK;
    let count = 0;
    for (let i = 0; i < SMALL_HOLDERS; i++) {
      const value = this.#readSmall(index, i);
      if ((value & SLOT_MASK) === 0) continue;
      if (count === 2) return set;
      this.#scratch[count++] = value;
    }
    this.#small.free(index);
    const a = count > 0 ? this.#scratch[0]! : 0;
    const b = count > 1 ? this.#scratch[1]! : 0;
    return a | (b << SHIFT_B);
  }

  #shrinkLarge(set: number): number {
    const from = set & INDEX_MASK;
    const slab = this.#large.slab(from);
    const at = this.#large.offset(from);
    let count = 0;
    for (let w = 0; w < this.planeWords; w++) {
      count += bitCount(slab[at + w]!);
      if (count > SHRINK_AT) return set;
    }
    const index = this.#small.take();
    let i = 0;
    for (let w = 0; w < this.planeWords; w++) {
      for (let bits = slab[at + w]!; bits !== 0; bits &= bits - 1) {
        const bit = 31 - Math.clz32(bits & -bits);
        const isReferenced = ((slab[at + this.planeWords + w]! >>> bit) & 1) === 1;
        this.#writeSmall(index, i++, (w * 32 + bit + 1) | (isReferenced ? REF_A : 0));
      }
    }
    this.#large.free(from);
    return this.#shrinkSmall(POOLED | index);
  }
}

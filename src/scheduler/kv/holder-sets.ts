// Who holds a block: a set of endpoint slots packed into one 32-bit word where it is small, and
// into a pool where it is not. Every holder has a reference bit for the CLOCK of its endpoint.
//
//   inline  0 0 0 r bbbbbbbbbbbb . . . r aaaaaaaaaaaa       up to two holders, slot + 1 each
//           31    28 27        16      12 11         0
//   list    1 0 size index                                  up to 8 (16 bytes) or 32 (64 bytes)
//   planes  1 1    index                                    any: a bit plane, and a plane of r
//
// Each form costs about 8 bytes a holder past the second at the size where it begins, whatever mix
// of sets a pool has. A set changes its form when it must, and back when few are left, so that a
// block everybody held once does not keep its planes for ever. The word 0 is the empty set.

import { HOLDER_MASK, HolderLists, REFERENCED, setBit } from "./holder-lists.ts";
import { SlabPool } from "./slab-pool.ts";

const SHIFT_B = 16;
const HOLDER_BITS = HOLDER_MASK | REFERENCED;
const POOLED = 0x8000_0000;
const PLANES = 0x4000_0000;
const LONG = 0x2000_0000;
const INDEX_MASK = 0x1fff_ffff;

const SHORT_CAPACITY = 8;
const LONG_CAPACITY = 32;
/** A form is left for the next smaller one at this many holders: half of what that one takes. */
const SHORTEN_AT = SHORT_CAPACITY / 2;
const LIST_AT = LONG_CAPACITY / 2;

function bitCount(word: number): number {
  let v = word - ((word >>> 1) & 0x5555_5555);
  v = (v & 0x3333_3333) + ((v >>> 2) & 0x3333_3333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/** A set without its reference bits, if it is inline; two such are equal when their holders are. */
export function inlineHolders(set: number): number {
  return set & ~(REFERENCED | (REFERENCED << SHIFT_B));
}

export function isInline(set: number): boolean {
  return (set & POOLED) === 0;
}

/**
 * The sets of one tree. Methods take a set's word and return its new word, which the caller stores;
 * the old word is dead then. `slotsMax` fixes the width of the bit planes.
 */
export class HolderSets {
  /** Words of a bit plane over all slots. */
  readonly planeWords: number;
  readonly #bytesMax: number;
  readonly #mayGrow: (bytes: number) => boolean;
  readonly #short = new HolderLists(SHORT_CAPACITY);
  readonly #long = new HolderLists(LONG_CAPACITY);
  readonly #planes: SlabPool;
  /** Holders of a set that changes its form. */
  readonly #scratch = new Uint16Array(LONG_CAPACITY);

  /** `mayGrow`: whether so many bytes more may be taken now, where they are shared with others. */
  constructor(
    slotsMax: number,
    bytesMax: number,
    mayGrow: (bytes: number) => boolean = () => true,
  ) {
    this.#bytesMax = bytesMax;
    this.#mayGrow = mayGrow;
    this.planeWords = Math.ceil(slotsMax / 32);
    this.#planes = new SlabPool(this.planeWords * 2);
  }

  get byteLength(): number {
    return this.#short.pool.byteLength + this.#long.pool.byteLength + this.#planes.byteLength;
  }

  /** Whether `add` to this set stays within the byte bound. */
  canAdd(set: number): boolean {
    if (isInline(set)) {
      const isFull = (set & HOLDER_MASK) !== 0 && ((set >>> SHIFT_B) & HOLDER_MASK) !== 0;
      return !isFull || this.#hasRoom(this.#short.pool);
    }
    if ((set & PLANES) !== 0 || this.#listOf(set).find(set & INDEX_MASK, 0) >= 0) return true;
    return this.#hasRoom((set & LONG) === 0 ? this.#long.pool : this.#planes);
  }

  has(set: number, slot: number): boolean {
    const holder = slot + 1;
    if (isInline(set)) {
      return (set & HOLDER_MASK) === holder || ((set >>> SHIFT_B) & HOLDER_MASK) === holder;
    }
    const index = set & INDEX_MASK;
    if ((set & PLANES) === 0) return this.#listOf(set).find(index, holder) >= 0;
    const word = this.#planes.slab(index)[this.#planes.offset(index) + (slot >>> 5)]!;
    return ((word >>> (slot & 31)) & 1) === 1;
  }

  /** Adds a holder the set does not have. Its reference bit is clear. */
  add(set: number, slot: number): number {
    const holder = slot + 1;
    if (isInline(set)) {
      if ((set & HOLDER_MASK) === 0) return set | holder;
      if (((set >>> SHIFT_B) & HOLDER_MASK) === 0) return set | (holder << SHIFT_B);
      return this.add(this.#toList(this.#short, this.#gatherInline(set)), slot);
    }
    const index = set & INDEX_MASK;
    if ((set & PLANES) !== 0) {
      this.#planes.slab(index)[this.#planes.offset(index) + (slot >>> 5)]! |= 1 << (slot & 31);
      return set;
    }
    const list = this.#listOf(set);
    const free = list.find(index, 0);
    if (free >= 0) {
      list.write(index, free, holder);
      return set;
    }
    const count = this.#gatherList(list, index);
    list.pool.free(index);
    return this.add(
      list === this.#short ? this.#toList(this.#long, count) : this.#toPlanes(count),
      slot,
    );
  }

  /** Removes a holder the set has. Returns 0 when it was the last one. */
  remove(set: number, slot: number): number {
    const holder = slot + 1;
    if (isInline(set)) {
      return (set & HOLDER_MASK) === holder ? set & ~HOLDER_BITS : set & HOLDER_BITS;
    }
    const index = set & INDEX_MASK;
    if ((set & PLANES) === 0) {
      const list = this.#listOf(set);
      list.write(index, list.find(index, holder), 0);
      return this.#shrinkList(set, list);
    }
    const slab = this.#planes.slab(index);
    const at = this.#planes.offset(index) + (slot >>> 5);
    slab[at]! &= ~(1 << (slot & 31));
    slab[at + this.planeWords]! &= ~(1 << (slot & 31));
    return this.#shrinkPlanes(set);
  }

  isReferenced(set: number, slot: number): boolean {
    const holder = slot + 1;
    if (isInline(set)) {
      const half = (set & HOLDER_MASK) === holder ? set : set >>> SHIFT_B;
      return (half & REFERENCED) !== 0;
    }
    const index = set & INDEX_MASK;
    if ((set & PLANES) === 0) {
      const list = this.#listOf(set);
      return (list.read(index, list.find(index, holder)) & REFERENCED) !== 0;
    }
    const at = this.#planes.offset(index) + this.planeWords + (slot >>> 5);
    return ((this.#planes.slab(index)[at]! >>> (slot & 31)) & 1) === 1;
  }

  /** Sets the reference bit of a holder the set has. */
  reference(set: number, slot: number): number {
    return this.#setReferenced(set, slot, true);
  }

  /** Clears the reference bit of a holder the set has. */
  unreference(set: number, slot: number): number {
    return this.#setReferenced(set, slot, false);
  }

  #setReferenced(set: number, slot: number, isReferenced: boolean): number {
    const holder = slot + 1;
    const bit = isReferenced ? REFERENCED : 0;
    if (isInline(set)) {
      return (set & HOLDER_MASK) === holder
        ? (set & ~REFERENCED) | bit
        : (set & ~(REFERENCED << SHIFT_B)) | (bit << SHIFT_B);
    }
    const index = set & INDEX_MASK;
    if ((set & PLANES) === 0) {
      const list = this.#listOf(set);
      list.write(index, list.find(index, holder), holder | bit);
      return set;
    }
    const slab = this.#planes.slab(index);
    const at = this.#planes.offset(index) + this.planeWords + (slot >>> 5);
    if (isReferenced) slab[at]! |= 1 << (slot & 31);
    else slab[at]! &= ~(1 << (slot & 31));
    return set;
  }

  /** Writes the set into a bit plane of `words` words, which it clears first. */
  // Hot path: prefix-tree in bench/.
  toPlane(set: number, out: Uint32Array, words: number): void {
    const index = set & INDEX_MASK;
    if (!isInline(set) && (set & PLANES) !== 0) {
      const slab = this.#planes.slab(index);
      const at = this.#planes.offset(index);
      for (let w = 0; w < words; w++) out[w] = slab[at + w]!;
      return;
    }
    for (let w = 0; w < words; w++) out[w] = 0;
    if (isInline(set)) {
      setBit(out, (set & HOLDER_MASK) - 1);
      setBit(out, ((set >>> SHIFT_B) & HOLDER_MASK) - 1);
    } else {
      this.#listOf(set).addTo(out, index);
    }
  }

  #listOf(set: number): HolderLists {
    return (set & LONG) === 0 ? this.#short : this.#long;
  }

  #hasRoom(pool: SlabPool): boolean {
    if (pool.hasFree) return true;
    const isWithin = this.byteLength + pool.slabBytes <= this.#bytesMax;
    return isWithin && this.#mayGrow(pool.slabBytes);
  }

  // Changes of form: holders go through #scratch, which `gather` fills and `to` empties.

  #gatherInline(set: number): number {
    this.#scratch[0] = set & HOLDER_BITS;
    this.#scratch[1] = (set >>> SHIFT_B) & HOLDER_BITS;
    return 2;
  }

  #gatherList(list: HolderLists, index: number): number {
    let count = 0;
    for (let i = 0; i < list.capacity; i++) {
      const value = list.read(index, i);
      if (value !== 0) this.#scratch[count++] = value;
    }
    return count;
  }

  #gatherPlanes(index: number): number {
    const slab = this.#planes.slab(index);
    const at = this.#planes.offset(index);
    let count = 0;
    for (let w = 0; w < this.planeWords; w++) {
      for (let bits = slab[at + w]!; bits !== 0; bits &= bits - 1) {
        const bit = 31 - Math.clz32(bits & -bits);
        const isReferenced = ((slab[at + this.planeWords + w]! >>> bit) & 1) === 1;
        this.#scratch[count++] = (w * 32 + bit + 1) | (isReferenced ? REFERENCED : 0);
      }
    }
    return count;
  }

  /** At most two holders. */
  #toInline(count: number): number {
    const a = count > 0 ? this.#scratch[0]! : 0;
    const b = count > 1 ? this.#scratch[1]! : 0;
    return a | (b << SHIFT_B);
  }

  #toList(list: HolderLists, count: number): number {
    const index = list.pool.take();
    for (let i = 0; i < count; i++) list.write(index, i, this.#scratch[i]!);
    return POOLED | (list === this.#long ? LONG : 0) | index;
  }

  #toPlanes(count: number): number {
    const index = this.#planes.take();
    const slab = this.#planes.slab(index);
    const at = this.#planes.offset(index);
    for (let i = 0; i < count; i++) {
      const value = this.#scratch[i]!;
      const slot = (value & HOLDER_MASK) - 1;
      slab[at + (slot >>> 5)]! |= 1 << (slot & 31);
      if ((value & REFERENCED) !== 0) {
        slab[at + this.planeWords + (slot >>> 5)]! |= 1 << (slot & 31);
      }
    }
    return POOLED | PLANES | index;
  }

  #shrinkList(set: number, list: HolderLists): number {
    const index = set & INDEX_MASK;
    const count = this.#gatherList(list, index);
    const isShort = list === this.#short;
    if (count > 2 && (isShort || count > SHORTEN_AT || !this.#hasRoom(this.#short.pool))) {
      return set;
    }
    list.pool.free(index);
    return count <= 2 ? this.#toInline(count) : this.#toList(this.#short, count);
  }

  #shrinkPlanes(set: number): number {
    const index = set & INDEX_MASK;
    const slab = this.#planes.slab(index);
    const at = this.#planes.offset(index);
    let count = 0;
    for (let w = 0; w < this.planeWords; w++) {
      count += bitCount(slab[at + w]!);
      if (count > LIST_AT) return set;
    }
    if (count > 2 && !this.#hasRoom(this.#long.pool)) return set;
    this.#gatherPlanes(index);
    this.#planes.free(index);
    return count <= 2 ? this.#toInline(count) : this.#toList(this.#long, count);
  }
}

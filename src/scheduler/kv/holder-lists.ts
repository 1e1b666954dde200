// Holder sets as short lists: pieces of a slab, each with room for the same number of holders.
//
//   one 32-bit word   │ r bbbbbbbbbbbb │ r aaaaaaaaaaaa │   two holders: slot + 1, reference bit
//                       31..16           15..0              0 is a free place, anywhere in the list

import { SlabPool } from "./slab-pool.ts";

/** A holder is its slot + 1 in twelve bits, with this bit set after a renewed use. */
export const HOLDER_MASK = 0xfff;
export const REFERENCED = 0x1000;

/** Lists of one size, by index. */
export class HolderLists {
  readonly capacity: number;
  readonly pool: SlabPool;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.pool = new SlabPool(capacity / 2);
  }

  read(index: number, place: number): number {
    const word = this.pool.slab(index)[this.pool.offset(index) + (place >>> 1)]!;
    return (place & 1) === 0 ? word & 0xffff : word >>> 16;
  }

  write(index: number, place: number, value: number): void {
    const slab = this.pool.slab(index);
    const at = this.pool.offset(index) + (place >>> 1);
    const word = slab[at]!;
    slab[at] = (place & 1) === 0 ? (word & 0xffff_0000) | value : (word & 0xffff) | (value << 16);
  }

  /** Place of `holder` (0: of a free place), or -1. */
  find(index: number, holder: number): number {
    const slab = this.pool.slab(index);
    const at = this.pool.offset(index);
    for (let i = 0; i < this.capacity; i += 2) {
      const word = slab[at + (i >>> 1)]!;
      if ((word & HOLDER_MASK) === holder) return i;
      if (((word >>> 16) & HOLDER_MASK) === holder) return i + 1;
    }
    return -1;
  }

  /** Sets the bits of all holders in a bit plane. */
  addTo(plane: Uint32Array, index: number): void {
    const slab = this.pool.slab(index);
    const at = this.pool.offset(index);
    for (let w = 0; w < this.capacity / 2; w++) {
      const word = slab[at + w]!;
      setBit(plane, (word & HOLDER_MASK) - 1);
      setBit(plane, ((word >>> 16) & HOLDER_MASK) - 1);
    }
  }
}

/** Sets a slot's bit; none for slot -1. */
export function setBit(plane: Uint32Array, slot: number): void {
  if (slot >= 0) plane[slot >>> 5]! |= 1 << (slot & 31);
}

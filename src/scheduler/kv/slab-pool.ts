// Fixed-size pieces of 32-bit words, taken from slabs that are added one at a time.

/** Pieces a slab holds. Small slabs keep the growth step small; see PrefixTree's byte bound. */
const PIECES_PER_SLAB = 1024;

/** Hands out pieces by index. A freed piece is reused; its first word links the free list. */
export class SlabPool {
  readonly #words: number;
  readonly #slabs: Uint32Array[] = [];
  #used = 0;
  /** Index + 1 of the first free piece, 0 for none. */
  #free = 0;

  constructor(wordsPerPiece: number) {
    this.#words = wordsPerPiece;
  }

  get slabBytes(): number {
    return PIECES_PER_SLAB * this.#words * 4;
  }

  get byteLength(): number {
    return this.#slabs.length * this.slabBytes;
  }

  /** Whether `take` needs no new slab. */
  get hasFree(): boolean {
    return this.#free !== 0 || this.#used < this.#slabs.length * PIECES_PER_SLAB;
  }

  /** A piece filled with zeros. Grows by a slab when none is free. */
  take(): number {
    if (this.#free !== 0) {
      const index = this.#free - 1;
      const slab = this.slab(index);
      const at = this.offset(index);
      this.#free = slab[at]!;
      slab.fill(0, at, at + this.#words);
      return index;
    }
    if (this.#used === this.#slabs.length * PIECES_PER_SLAB) {
      this.#slabs.push(new Uint32Array(PIECES_PER_SLAB * this.#words));
    }
    return this.#used++;
  }

  free(index: number): void {
    this.slab(index)[this.offset(index)] = this.#free;
    this.#free = index + 1;
  }

  /** The slab of a piece; the piece begins at `offset(index)`. */
  slab(index: number): Uint32Array {
    return this.#slabs[(index / PIECES_PER_SLAB) | 0]!;
  }

  offset(index: number): number {
    return (index % PIECES_PER_SLAB) * this.#words;
  }
}

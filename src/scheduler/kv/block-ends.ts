// Where content ends in tokens, by entry of a BlockTable: two bytes each, for the entries that have one.
// The unit is whoever's tells them, the same for all.

/** The end of a block that nobody has told. */
export const END_UNKNOWN = 0xffff;
/** Of an entry that is no block: its key says that a hit can end with one. */
export const END_OF_HIT = 0xfffd;
const CHUNK_BITS = 12;
const CHUNK_MASK = (1 << CHUNK_BITS) - 1;
/** The array grows by so much at a time. */
export const ENDS_CHUNK_BYTES = 2 << CHUNK_BITS;

export class BlockEnds {
  readonly #chunks: Uint16Array[] = [];

  get byteLength(): number {
    return this.#chunks.length * ENDS_CHUNK_BYTES;
  }

  at(entry: number): number {
    const chunk = this.#chunks[entry >>> CHUNK_BITS];
    return chunk === undefined ? END_UNKNOWN : chunk[entry & CHUNK_MASK]!;
  }

  set(entry: number, end: number): void {
    const at = entry >>> CHUNK_BITS;
    while (at >= this.#chunks.length) {
      this.#chunks.push(new Uint16Array(1 << CHUNK_BITS).fill(END_UNKNOWN));
    }
    this.#chunks[at]![entry & CHUNK_MASK] = end;
  }

  /** The entry is another block's from now on. */
  forget(entry: number): void {
    const chunk = this.#chunks[entry >>> CHUNK_BITS];
    if (chunk !== undefined) chunk[entry & CHUNK_MASK] = END_UNKNOWN;
  }
}

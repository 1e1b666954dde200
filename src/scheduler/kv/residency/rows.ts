// Rows of 32-bit words beside a BlockTable: columns for its entries, by their ids.

const CHUNK_BITS = 10;
/** Rows grow by so many at a time. */
export const CHUNK_ROWS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_ROWS - 1;

/** Grows a chunk at a time, as ids are first used. A row is zeros until it is written. */
export class Rows {
  readonly #words: number;
  readonly #chunks: Uint32Array[] = [];

  constructor(words: number) {
    this.#words = words;
  }

  get byteLength(): number {
    return this.#chunks.length * CHUNK_ROWS * this.#words * 4;
  }

  /** One past the highest id that may have been written. */
  get idsEnd(): number {
    return this.#chunks.length * CHUNK_ROWS;
  }

  get(id: number, word: number): number {
    const chunk = this.#chunks[id >>> CHUNK_BITS];
    return chunk === undefined ? 0 : chunk[(id & CHUNK_MASK) * this.#words + word]!;
  }

  set(id: number, word: number, value: number): void {
    const at = id >>> CHUNK_BITS;
    while (at >= this.#chunks.length) this.#chunks.push(new Uint32Array(CHUNK_ROWS * this.#words));
    this.#chunks[at]![(id & CHUNK_MASK) * this.#words + word] = value;
  }
}

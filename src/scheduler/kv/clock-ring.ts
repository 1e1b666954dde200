// A queue of entry ids in chunks, one per endpoint: the order in which its blocks came.
//
//   chunks   [ . . 17 4 9 ] [ 2 33 8 … ] [ 5 6 . . . ]
//                  ^head                      ^tail       push at the tail, shift at the head

const CHUNK_IDS = 256;
const RING_CHUNK_BYTES = CHUNK_IDS * 4;

/** A FIFO of 32-bit ids. Grows and shrinks a chunk at a time. */
export class ClockRing {
  readonly #chunks: Uint32Array[] = [];
  #head = 0;
  #tail = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get byteLength(): number {
    return this.#chunks.length * RING_CHUNK_BYTES;
  }

  push(id: number): void {
    const offset = this.#tail % CHUNK_IDS;
    if (offset === 0) this.#chunks.push(new Uint32Array(CHUNK_IDS));
    this.#chunks.at(-1)![offset] = id;
    this.#tail++;
    this.#length++;
  }

  /** The oldest id. The caller checks `length` first. */
  shift(): number {
    const id = this.#chunks[0]![this.#head]!;
    this.#head++;
    this.#length--;
    if (this.#length === 0) {
      this.#chunks.length = 0;
      this.#head = 0;
      this.#tail = 0;
    } else if (this.#head === CHUNK_IDS) {
      this.#chunks.shift();
      this.#head = 0;
    }
    return id;
  }
}

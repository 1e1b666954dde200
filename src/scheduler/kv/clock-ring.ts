// A queue of entry ids in chunks, one per endpoint: the order in which its blocks came.
//
//   chunks   [ . . 17 4 9 ] [ 2 33 8 … ] [ 5 6 . . . ]
//                  ^head                      ^tail       push at the tail, shift at the head
//
// An id also has a position, counted from the first one ever pushed, which does not change while the
// id is in the ring: a reader can go on where it stopped, whatever was pushed and shifted since.

const CHUNK_IDS = 256;
const RING_CHUNK_BYTES = CHUNK_IDS * 4;

/** A FIFO of 32-bit ids. Grows and shrinks a chunk at a time. */
export class ClockRing {
  readonly #chunks: Uint32Array[] = [];
  #head = 0;
  #tail = 0;
  #length = 0;
  #start: number;

  /** `start` is the position of the first id: a ring that replaces another continues its count. */
  constructor(start = 0) {
    this.#start = start;
  }

  /** Position of the oldest id. */
  get start(): number {
    return this.#start;
  }

  /** One past the position of the newest id. */
  get end(): number {
    return this.#start + this.#length;
  }

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

  /** The id at a position from `start` to below `end`. */
  at(position: number): number {
    const place = this.#head + position - this.#start;
    return this.#chunks[Math.floor(place / CHUNK_IDS)]![place % CHUNK_IDS]!;
  }

  /** The oldest id. The caller checks `length` first. */
  shift(): number {
    const id = this.#chunks[0]![this.#head]!;
    this.#head++;
    this.#start++;
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

// Block keys to entries: extendible hashing over open-addressed segments.
//
//   directory (2^depth)      segments (1,024 places)      entries (chunks of 16,384)
//   ┌─ top bits of high ─┐   ┌──────────────────────┐     ┌─────┬──────┬─────────┐
//   │ 0…00 ──────────────┼──►│ 0 │ id+1 │ 0 │ …      │────►│ low │ high │ holders │
//   │ 0…01 ──────────────┼─┐ └──────────────────────┘     └─────┴──────┴─────────┘
//   │ …                  │ └► …
//
// A full segment splits in two, so the table grows a segment at a time and never rehashes as a
// whole. An entry keeps its id for life: the rings of PrefixTree name entries by id. Within a
// segment, places are probed linearly from the low word and deletion shifts back, so there are no
// tombstones. Keys are hashes already and are used as they are.

const SEGMENT_PLACES = 1024;
const PLACE_MASK = SEGMENT_PLACES - 1;
/** A segment splits above this many entries: a load of 0.8. */
const SEGMENT_ENTRIES_MAX = 819;
const SEGMENT_BYTES = SEGMENT_PLACES * 4;
/**
 * Bytes a block costs at most in a table of many: its entry, and its place in a segment that has
 * just split (a load of 0.4).
 */
export const BLOCK_BYTES_MAX = 22;
const CHUNK_BITS = 14;
const CHUNK_ENTRIES = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_ENTRIES - 1;
const ENTRY_WORDS = 3;
const CHUNK_BYTES = CHUNK_ENTRIES * ENTRY_WORDS * 4;
/** 2^20 segments hold far more than any byte bound allows; reached only by hostile keys. */
const DEPTH_MAX = 20;

interface Segment {
  readonly places: Uint32Array;
  count: number;
  /** Top bits that all keys of the segment share. */
  depth: number;
}

function createSegment(depth: number): Segment {
  return { places: new Uint32Array(SEGMENT_PLACES), count: 0, depth };
}

/** No entry. */
export const NONE = -1;

/** Maps 64-bit keys (two words) to entries with one 32-bit word of payload, the holder set. */
export class BlockTable {
  readonly #chunks: Uint32Array[] = [];
  #directory: Segment[] = [createSegment(1), createSegment(1)];
  #depth = 1;
  #segmentCount = 2;
  #used = 0;
  /** Id + 1 of the first free entry, 0 for none; the low word links the list. */
  #free = 0;
  #freeCount = 0;

  /** Entries in the table. */
  get size(): number {
    return this.#used - this.#freeCount;
  }

  get byteLength(): number {
    return (
      this.#chunks.length * CHUNK_BYTES +
      this.#segmentCount * SEGMENT_BYTES +
      this.#directory.length * 8
    );
  }

  // Hot path: prefix-tree in bench/.
  find(low: number, high: number): number {
    const { places } = this.#directory[high >>> (32 - this.#depth)]!;
    for (let at = low & PLACE_MASK; ; at = (at + 1) & PLACE_MASK) {
      const id = places[at]! - 1;
      if (id < 0) return NONE;
      const chunk = this.#chunks[id >>> CHUNK_BITS]!;
      const word = (id & CHUNK_MASK) * ENTRY_WORDS;
      if (chunk[word] === low && chunk[word + 1] === high) return id;
    }
  }

  /**
   * Adds a key that is not in the table, with an empty payload. NONE when the table cannot take it:
   * more keys than a segment holds share DEPTH_MAX leading bits.
   */
  add(low: number, high: number): number {
    let segment = this.#directory[high >>> (32 - this.#depth)]!;
    while (segment.count >= SEGMENT_ENTRIES_MAX) {
      if (segment.depth === DEPTH_MAX) return NONE;
      this.#split(segment, high);
      segment = this.#directory[high >>> (32 - this.#depth)]!;
    }
    const id = this.#takeEntry();
    const chunk = this.#chunks[id >>> CHUNK_BITS]!;
    const word = (id & CHUNK_MASK) * ENTRY_WORDS;
    chunk[word] = low;
    chunk[word + 1] = high;
    chunk[word + 2] = 0;
    place(segment, low, id);
    return id;
  }

  payload(id: number): number {
    return this.#chunks[id >>> CHUNK_BITS]![(id & CHUNK_MASK) * ENTRY_WORDS + 2]!;
  }

  setPayload(id: number, value: number): void {
    this.#chunks[id >>> CHUNK_BITS]![(id & CHUNK_MASK) * ENTRY_WORDS + 2] = value;
  }

  /** Removes an entry; its id may be given out again. */
  remove(id: number): void {
    const chunk = this.#chunks[id >>> CHUNK_BITS]!;
    const word = (id & CHUNK_MASK) * ENTRY_WORDS;
    this.#displace(this.#directory[chunk[word + 1]! >>> (32 - this.#depth)]!, chunk[word]!, id);
    chunk[word] = this.#free;
    // An unused entry has no payload: a stale ring reference to it finds no holder.
    chunk[word + 2] = 0;
    this.#free = id + 1;
    this.#freeCount++;
  }

  #takeEntry(): number {
    if (this.#free !== 0) {
      const id = this.#free - 1;
      this.#free = this.#chunks[id >>> CHUNK_BITS]![(id & CHUNK_MASK) * ENTRY_WORDS]!;
      this.#freeCount--;
      return id;
    }
    if (this.#used === this.#chunks.length * CHUNK_ENTRIES) {
      this.#chunks.push(new Uint32Array(CHUNK_ENTRIES * ENTRY_WORDS));
    }
    return this.#used++;
  }

  /** Moves the upper half of a full segment's keys into a new segment. */
  #split(segment: Segment, high: number): void {
    if (segment.depth === this.#depth) {
      this.#directory = this.#directory.flatMap((entry) => [entry, entry]);
      this.#depth++;
    }
    const depth = segment.depth + 1;
    const lower = createSegment(depth);
    const upper = createSegment(depth);
    for (const place_ of segment.places) {
      if (place_ === 0) continue;
      const id = place_ - 1;
      const chunk = this.#chunks[id >>> CHUNK_BITS]!;
      const word = (id & CHUNK_MASK) * ENTRY_WORDS;
      const isUpper = ((chunk[word + 1]! >>> (32 - depth)) & 1) === 1;
      place(isUpper ? upper : lower, chunk[word]!, id);
    }
    // The directory entries of the old segment are the block of indices with its leading bits.
    const span = 1 << (this.#depth - segment.depth);
    const first = (high >>> (32 - this.#depth)) & ~(span - 1);
    for (let i = 0; i < span; i++) {
      this.#directory[first + i] = i < span / 2 ? lower : upper;
    }
    this.#segmentCount++;
  }

  /** Empties the place of `id` and moves later entries of its run back. */
  #displace(segment: Segment, low: number, id: number): void {
    const { places } = segment;
    let hole = low & PLACE_MASK;
    while (places[hole] !== id + 1) hole = (hole + 1) & PLACE_MASK;
    for (let at = (hole + 1) & PLACE_MASK; places[at] !== 0; at = (at + 1) & PLACE_MASK) {
      const other = places[at]! - 1;
      const home =
        this.#chunks[other >>> CHUNK_BITS]![(other & CHUNK_MASK) * ENTRY_WORDS]! & PLACE_MASK;
      // An entry may move back only if the hole lies between its home and its place.
      if (((at - home) & PLACE_MASK) < ((at - hole) & PLACE_MASK)) continue;
      places[hole] = other + 1;
      hole = at;
    }
    places[hole] = 0;
    segment.count--;
  }
}

function place(segment: Segment, low: number, id: number): void {
  let at = low & PLACE_MASK;
  while (segment.places[at] !== 0) at = (at + 1) & PLACE_MASK;
  segment.places[at] = id + 1;
  segment.count++;
}

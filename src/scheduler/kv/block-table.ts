// Block keys to entries: extendible hashing over open-addressed segments.
//
//   directory (2^depth)      segments (1,024 places)      entries (chunks of 4,096)
//   ┌─ top bits of high ─┐   ┌──────────────────────┐     ┌─────┬──────┬─────────┐
//   │ 0…00 ──────────────┼──►│ 0 │ id+1 │ 0 │ …      │────►│ low │ high │ holders │
//   │ 0…01 ──────────────┼─┐ └──────────────────────┘     └─────┴──────┴─────────┘
//   │ …                  │ └► …        16 segments a page
//
//   a place   hhhhhhhhhh iiiiiiiiiiiiiiiiiiiiii     h: the key's home, its first place; i: id + 1, 0 where it is free
//             31      22 21                   0
//
// A full segment splits in two, so the table grows a page at a time and never rehashes as a whole.
// An entry keeps its id for life: the rings of PrefixTree name entries by id. Within a segment,
// places are probed linearly from the low word and deletion shifts back, so there are no
// tombstones. A place tells its key's home, so that entries, which are far apart, are looked at only where
// the key may be the one that is looked for. Keys are hashes already and are used as they are. Segments never merge; their number
// and the directory's depth are bounded, so keys chosen to collide cost hits and not memory.

const SEGMENT_PLACES = 1024;
const PLACE_MASK = SEGMENT_PLACES - 1;
/** Of a place: where its home begins, and which bits are the id's. */
const HOME_SHIFT = 22;
const ID_MASK = (1 << HOME_SHIFT) - 1;
/** A segment splits at this many entries: a load of 0.8. */
const SPLIT_AT = 819;
/** One that may not split any more fills up to here. Places never run out, so probing ends. */
const SEGMENT_ENTRIES_MAX = 960;
/** Segments lie sixteen to an array: few arrays stay in the processor's cache, many do not. */
const PAGE_BITS = 4;
const PAGE_SEGMENTS = 1 << PAGE_BITS;
const PAGE_MASK = PAGE_SEGMENTS - 1;
const SEGMENT_BYTES = SEGMENT_PLACES * 4;
const PAGE_BYTES = PAGE_SEGMENTS * SEGMENT_BYTES;
/** What a segment needs besides its places: its count, and up to four places in the directory. */
const SEGMENT_EXTRA_BYTES = 3 + 4 * 4;
/** Bytes an entry costs in segments that have just split: 12 its own, 10 its place (load 0.4). */
export const ENTRY_COST_BYTES = 22;
const CHUNK_BITS = 12;
const CHUNK_ENTRIES = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_ENTRIES - 1;
const ENTRY_WORDS = 3;
const CHUNK_BYTES = CHUNK_ENTRIES * ENTRY_WORDS * 4;

/** No entry. */
export const NONE = -1;
/** Keys that `findAll` looks up: what they touch fits the processor's first cache. */
export const FIND_ALL_MAX = 128;

/** Keys of a table, as whoever makes a digest of them reads them. */
export interface KeyTable {
  /** Keys in it. */
  readonly size: number;
  /** Since the beginning; with `addedCount` it tells whether anything has changed. */
  readonly removedCount: number;
  readonly addedCount: number;
  /** Is called with every key that is added. One listener; it must not touch the table. */
  onAdded: ((low: number, high: number) => void) | undefined;
  /**
   * Reads keys in pieces, as many of the next entries as fit into `buffer`. Begin at position 0 and go on
   * at `next`, until there is none. Every key that is there from the first call to the last is read
   * once; one that is added in between perhaps not.
   */
  readKeys(position: number, buffer: Uint32Array): KeyPiece;
}

export interface KeyPiece {
  /** Two words each, of the buffer. */
  readonly keys: Uint32Array;
  readonly next: number | undefined;
}

/** Maps 64-bit keys (two words) to entries with one 32-bit word of payload, the holder set. */
export class BlockTable implements KeyTable {
  /** How many entries the byte bound allows. The caller keeps `size` within it. */
  readonly entriesMax: number;
  readonly #mayGrow: (bytes: number) => boolean;
  readonly #segmentsMax: number;
  readonly #depthMax: number;
  readonly #chunks: Uint32Array[] = [];
  readonly #pages: Uint32Array[] = [new Uint32Array(PAGE_SEGMENTS * SEGMENT_PLACES)];
  /** By segment: its entries, and how many top bits all its keys share. */
  readonly #counts: Uint16Array;
  readonly #depths: Uint8Array;
  #segmentCount = 2;
  #directory = Uint32Array.of(0, 1);
  #depth = 1;
  #used = 0;
  /** Id + 1 of the first free entry, 0 for none; the low word links the list. */
  #free = 0;
  #freeCount = 0;
  addedCount = 0;
  removedCount = 0;
  onAdded: KeyTable["onAdded"];
  /** Low words of entries that `findAll` looks at. */
  readonly #lows = new Uint32Array(FIND_ALL_MAX);
  /** Places of a segment that splits. */
  readonly #splitting = new Uint32Array(SEGMENT_PLACES);

  /** `mayGrow`: whether so many bytes more may be taken now for segments, where they are shared with others. */
  constructor(bytesMax: number, mayGrow: (bytes: number) => boolean = () => true) {
    this.#mayGrow = mayGrow;
    this.entriesMax = Math.max(1, Math.min(ID_MASK, Math.floor(bytesMax / ENTRY_COST_BYTES)));
    const chunkBytes = Math.ceil(this.entriesMax / CHUNK_ENTRIES) * CHUNK_BYTES;
    const pageBytes = PAGE_BYTES + PAGE_SEGMENTS * SEGMENT_EXTRA_BYTES;
    const pages = Math.max(1, Math.floor((bytesMax - chunkBytes) / pageBytes));
    this.#segmentsMax = pages * PAGE_SEGMENTS;
    this.#depthMax = 32 - Math.clz32(this.#segmentsMax);
    this.#counts = new Uint16Array(this.#segmentsMax);
    this.#depths = new Uint8Array(this.#segmentsMax).fill(1, 0, 2);
  }

  /** Entries in the table. */
  get size(): number {
    return this.#used - this.#freeCount;
  }

  /** One past the highest entry there ever was. */
  get idsEnd(): number {
    return this.#used;
  }

  get byteLength(): number {
    return (
      this.#chunks.length * CHUNK_BYTES +
      this.#pages.length * PAGE_BYTES +
      this.#counts.byteLength +
      this.#depths.byteLength +
      this.#directory.byteLength
    );
  }

  /** Bytes that the next entry takes besides its place: a chunk of them, or none. */
  get chunkBytesDue(): number {
    const isDue = this.#free === 0 && this.#used === this.#chunks.length * CHUNK_ENTRIES;
    return isDue ? CHUNK_BYTES : 0;
  }

  // Hot path: prefix-tree in bench/.
  find(low: number, high: number): number {
    const segment = this.#directory[high >>> (32 - this.#depth)]!;
    const places = this.#pages[segment >>> PAGE_BITS]!;
    const base = (segment & PAGE_MASK) * SEGMENT_PLACES;
    const home = low & PLACE_MASK;
    for (let at = home; ; at = (at + 1) & PLACE_MASK) {
      const place = places[base + at]!;
      if (place === 0) return NONE;
      if (place >>> HOME_SHIFT !== home) continue;
      const id = (place & ID_MASK) - 1;
      const chunk = this.#chunks[id >>> CHUNK_BITS]!;
      const word = (id & CHUNK_MASK) * ENTRY_WORDS;
      if (chunk[word] === low && chunk[word + 1] === high) return id;
    }
  }

  /**
   * Looks up the next keys, two words each, from word `from` on and at most FIND_ALL_MAX; writes the entry of
   * each into `ids`, or NONE. In half the time of one by one where the table is larger than the processor's
   * caches: the first two loops ask memory for what the last one needs, and no key waits for another's.
   */
  // Hot path: kv-stream in bench/.
  findAll(keys: Uint32Array, from: number, ids: Int32Array): void {
    const directory = this.#directory;
    const pages = this.#pages;
    const chunks = this.#chunks;
    const lows = this.#lows;
    const shift = 32 - this.#depth;
    const count = Math.min(FIND_ALL_MAX, (keys.length - from) >>> 1);
    for (let n = 0; n < count; n++) {
      const segment = directory[keys[from + n * 2 + 1]! >>> shift]!;
      const at = (segment & PAGE_MASK) * SEGMENT_PLACES + (keys[from + n * 2]! & PLACE_MASK);
      ids[n] = (pages[segment >>> PAGE_BITS]![at]! & ID_MASK) - 1;
    }
    for (let n = 0; n < count; n++) {
      const id = ids[n]!;
      if (id >= 0) lows[n] = chunks[id >>> CHUNK_BITS]![(id & CHUNK_MASK) * ENTRY_WORDS]!;
    }
    for (let n = 0; n < count; n++) {
      const id = ids[n]!;
      if (id < 0) continue;
      const low = keys[from + n * 2]!;
      const high = keys[from + n * 2 + 1]!;
      if (lows[n] !== low || !this.isOf(id, low, high)) ids[n] = this.find(low, high);
    }
  }

  /** Whether an entry that `findAll` has found is still the key's, whatever was changed since. */
  isOf(id: number, low: number, high: number): boolean {
    const chunk = this.#chunks[id >>> CHUNK_BITS]!;
    const word = (id & CHUNK_MASK) * ENTRY_WORDS;
    return chunk[word] === low && chunk[word + 1] === high && chunk[word + 2] !== 0;
  }

  /**
   * Adds a key that is not in the table, with an empty payload. NONE when its segment is full and
   * may not split: too many keys share their leading bits.
   */
  add(low: number, high: number): number {
    let segment = this.#directory[high >>> (32 - this.#depth)]!;
    while (this.#counts[segment]! >= SPLIT_AT && this.#canSplit(segment)) {
      this.#split(segment, high);
      segment = this.#directory[high >>> (32 - this.#depth)]!;
    }
    if (this.#counts[segment]! >= SEGMENT_ENTRIES_MAX) return NONE;
    const id = this.#takeEntry();
    const chunk = this.#chunks[id >>> CHUNK_BITS]!;
    const word = (id & CHUNK_MASK) * ENTRY_WORDS;
    chunk[word] = low;
    chunk[word + 1] = high;
    chunk[word + 2] = 0;
    this.#place(segment, low, id);
    this.addedCount++;
    this.onAdded?.(low, high);
    return id;
  }

  /** An entry without a payload is not in use. */
  readKeys(position: number, buffer: Uint32Array): KeyPiece {
    const end = Math.min(this.#used, position + (buffer.length >>> 1));
    let words = 0;
    for (let id = position; id < end; id++) {
      if (this.payload(id) === 0) continue;
      this.readKey(id, buffer, words);
      words += 2;
    }
    return { keys: buffer.subarray(0, words), next: end < this.#used ? end : undefined };
  }

  /** Writes the entry's key into two words of `out`, from `at` on. */
  readKey(id: number, out: Uint32Array, at: number): void {
    const chunk = this.#chunks[id >>> CHUNK_BITS]!;
    const word = (id & CHUNK_MASK) * ENTRY_WORDS;
    out[at] = chunk[word]!;
    out[at + 1] = chunk[word + 1]!;
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
    this.removedCount++;
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

  #canSplit(segment: number): boolean {
    if (this.#depths[segment]! >= this.#depthMax || this.#segmentCount >= this.#segmentsMax)
      return false;
    return !this.#isPageDue || this.#mayGrow(PAGE_BYTES);
  }

  get #isPageDue(): boolean {
    return this.#segmentCount === this.#pages.length * PAGE_SEGMENTS;
  }

  /** Moves the upper half of a full segment's keys into a new segment. */
  #split(lower: number, high: number): void {
    const sharedBits = this.#depths[lower]!;
    if (sharedBits === this.#depth) this.#doubleDirectory();
    const upper = this.#takeSegment();
    this.#depths[lower] = sharedBits + 1;
    this.#depths[upper] = sharedBits + 1;
    const places = this.#pages[lower >>> PAGE_BITS]!;
    const base = (lower & PAGE_MASK) * SEGMENT_PLACES;
    this.#splitting.set(places.subarray(base, base + SEGMENT_PLACES));
    places.fill(0, base, base + SEGMENT_PLACES);
    this.#counts[lower] = 0;
    for (let i = 0; i < SEGMENT_PLACES; i++) {
      const id = (this.#splitting[i]! & ID_MASK) - 1;
      if (id < 0) continue;
      const chunk = this.#chunks[id >>> CHUNK_BITS]!;
      const word = (id & CHUNK_MASK) * ENTRY_WORDS;
      const isUpper = ((chunk[word + 1]! >>> (31 - sharedBits)) & 1) === 1;
      this.#place(isUpper ? upper : lower, chunk[word]!, id);
    }
    // The directory names the old segment at all indices with its leading bits: half become new.
    const span = 1 << (this.#depth - sharedBits);
    const first = (high >>> (32 - this.#depth)) & ~(span - 1);
    this.#directory.fill(upper, first + span / 2, first + span);
  }

  #doubleDirectory(): void {
    const old = this.#directory;
    this.#directory = new Uint32Array(old.length * 2);
    for (let i = 0; i < this.#directory.length; i++) this.#directory[i] = old[i >>> 1]!;
    this.#depth++;
  }

  #takeSegment(): number {
    if (this.#isPageDue) {
      this.#pages.push(new Uint32Array(PAGE_SEGMENTS * SEGMENT_PLACES));
    }
    return this.#segmentCount++;
  }

  #place(segment: number, low: number, id: number): void {
    const places = this.#pages[segment >>> PAGE_BITS]!;
    const base = (segment & PAGE_MASK) * SEGMENT_PLACES;
    let at = low & PLACE_MASK;
    const place = ((at << HOME_SHIFT) | (id + 1)) >>> 0;
    while (places[base + at] !== 0) at = (at + 1) & PLACE_MASK;
    places[base + at] = place;
    this.#counts[segment]!++;
  }

  /** Empties the place of `id` and moves later entries of its run back. */
  #displace(segment: number, low: number, id: number): void {
    const places = this.#pages[segment >>> PAGE_BITS]!;
    const base = (segment & PAGE_MASK) * SEGMENT_PLACES;
    let hole = low & PLACE_MASK;
    const own = ((hole << HOME_SHIFT) | (id + 1)) >>> 0;
    while (places[base + hole] !== own) hole = (hole + 1) & PLACE_MASK;
    for (let at = (hole + 1) & PLACE_MASK; ; at = (at + 1) & PLACE_MASK) {
      const other = places[base + at]!;
      if (other === 0) break;
      // An entry may move back only if the hole lies between its home and its place.
      if (((at - (other >>> HOME_SHIFT)) & PLACE_MASK) < ((at - hole) & PLACE_MASK)) continue;
      places[base + hole] = other;
      hole = at;
    }
    places[base + hole] = 0;
    this.#counts[segment]!--;
  }
}

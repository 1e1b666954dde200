// Which endpoint holds which prefix: the pool's knowledge of what is in the GPUs' caches.
//
// A prefix is a chain of 64-bit block keys, each naming its block and everything before it, so the
// tree needs no nodes: a flat table of keys is the tree, and a walk down a path is a sequence of
// look-ups.
//
//   BlockTable   key ──► entry id ──► holder set (HolderSets): who has the block
//   ClockRing    per endpoint: entry ids in the order they came, with the set's reference bits
//
// One walk over a request's keys yields, for every endpoint at once, its longest match without a
// gap: the set of endpoints still matching is a bit plane, ANDed with each block's holders; who
// drops out at block i matched i blocks.
//
// Recency is a CLOCK per endpoint: a block's second use sets its reference bit; eviction takes the
// oldest block without one. A path enters the ring leaf first, so its tail goes before its root.
//
// Memory of a block with two holders on average: 12 bytes the entry, 5 to 10 its place in the table,
// 8 in two rings, 0 to 8 the holder set. bench/prefix-tree.ts measures it.

import { BlockTable, type KeyTable, NONE } from "./block-table.ts";
import { ClockRing } from "./clock-ring.ts";
import { CONTENT_KEYS_MAX } from "./content-keys.ts";
import { HolderSets, inlineHolders, isInline } from "./holder-sets.ts";
import { PairTable } from "./pair-table.ts";

export const PREFIX_TREE_LIMITS = {
  /** Endpoint slots. */
  slotsMax: 1024,
  /** All memory of a tree. */
  bytesMax: 48 * 1024 * 1024,
} as const;

/**
 * How the bytes are shared out. Each part is bounded by itself, because memory given to one is not
 * given back to another: blocks and rings by eviction, sets by leaving a holder out. The shares are
 * as 22 : 8 : 8, what a block with two holders needs of each at most, so they fill up together.
 */
const TABLE_SHARE = 0.58;
const RINGS_SHARE = 0.21;
const SETS_SHARE = 0.21;
/** Blocks taken from one endpoint before the largest is looked for again. */
const EVICT_BATCH = 64;
/** A ring is rebuilt when this many more ids than held blocks are in it. */
const STALE_IDS_MAX = 1024;

export interface PrefixTreeOptions {
  readonly slotsMax?: number;
  readonly bytesMax?: number;
}

/** A piece of what an endpoint holds, and the position of the next. */
export interface HeldPiece {
  readonly keys: Uint32Array;
  readonly next: number | undefined;
}

/** One per pool. Every argument `slot` is below `slotsMax`. */
export class PrefixTree {
  readonly #ringBytesMax: number;
  readonly #table: BlockTable;
  readonly #sets: HolderSets;
  readonly #pairs: PairTable;
  readonly #rings: (ClockRing | undefined)[];
  readonly #held: Int32Array;
  readonly #capacity: Int32Array;
  #ringBytes = 0;
  /** One past the highest slot that ever held a block: bounds the bit planes of a match. */
  #slotCount = 0;
  #evictedForCapacity = 0;
  #evictedForBytes = 0;
  #leftOut = 0;
  readonly #path = new Int32Array(CONTENT_KEYS_MAX);
  readonly #active: Uint32Array;
  readonly #next: Uint32Array;

  constructor(options: PrefixTreeOptions = {}) {
    const slotsMax = options.slotsMax ?? PREFIX_TREE_LIMITS.slotsMax;
    const bytesMax = options.bytesMax ?? PREFIX_TREE_LIMITS.bytesMax;
    this.#table = new BlockTable(bytesMax * TABLE_SHARE);
    this.#ringBytesMax = bytesMax * RINGS_SHARE;
    this.#sets = new HolderSets(slotsMax, bytesMax * SETS_SHARE);
    this.#pairs = new PairTable({
      table: this.#table,
      sets: this.#sets,
      words: () => (this.#slotCount + 31) >>> 5,
      slotOf: (slot) => slot,
    });
    this.#rings = Array.from({ length: slotsMax });
    this.#held = new Int32Array(slotsMax);
    this.#capacity = new Int32Array(slotsMax).fill(0x7fff_ffff);
    this.#active = new Uint32Array(this.#sets.planeWords);
    this.#next = new Uint32Array(this.#sets.planeWords);
  }

  /** Distinct blocks that somebody holds. */
  get blockCount(): number {
    return this.#table.size;
  }

  /** Of the blocks that somebody holds. */
  get keys(): KeyTable {
    return this.#table;
  }

  /** Of the (block, endpoint) pairs. */
  get pairs(): KeyTable {
    return this.#pairs;
  }

  /** (block, endpoint) pairs: the sum of heldBlocks over all endpoints. */
  get heldCount(): number {
    return this.#pairs.size;
  }

  /** Bytes of all arrays, growth slack and free lists included. */
  get byteLength(): number {
    return this.#table.byteLength + this.#sets.byteLength + this.#ringBytes;
  }

  /** (block, endpoint) pairs evicted since construction, by cause. */
  get evicted(): { readonly capacity: number; readonly bytes: number } {
    return { capacity: this.#evictedForCapacity, bytes: this.#evictedForBytes };
  }

  /** (block, endpoint) pairs not recorded, because the sets' share of the bytes was used up. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Blocks an endpoint holds. */
  heldBlocks(slot: number): number {
    return this.#held[slot]!;
  }

  /** How many blocks an endpoint's cache has room for; more are evicted, least recent first. */
  setCapacity(slot: number, blocks: number): void {
    this.#capacity[slot] = Math.max(0, Math.min(0x7fff_ffff, Math.floor(blocks)));
    this.#evictOverCapacity(slot);
  }

  /**
   * Marks every block of a path as held by `slot`, and as used now. Keys past CONTENT_KEYS_MAX are
   * left out. Returns how many blocks, from the first on, it held already. O(keys), amortised.
   */
  insert(keys: Uint32Array, slot: number): number {
    const count = Math.min(keys.length >>> 1, CONTENT_KEYS_MAX);
    if (count === 0) return 0;
    const taken = Math.min(count, this.#table.entriesMax);
    this.#makeRoom(taken);
    let length = 0;
    while (length < taken) {
      const low = keys[length * 2]!;
      const high = keys[length * 2 + 1]!;
      let id = this.#table.find(low, high);
      if (id === NONE) id = this.#table.add(low, high);
      if (id === NONE) break;
      this.#path[length++] = id;
    }
    if (slot >= this.#slotCount) this.#slotCount = slot + 1;
    // Leaf first: the ring then evicts a path from its tail.
    let held = length;
    for (let i = length - 1; i >= 0; i--) if (!this.#hold(this.#path[i]!, slot)) held = i;
    this.#evictOverCapacity(slot);
    while (this.#ringBytes > this.#ringBytesMax && this.#evictColdest());
    return held;
  }

  /**
   * Reads the blocks that `slot` holds in pieces, least recent piece first, each in the order in
   * which `insert` restores its recency. A piece is the end of `buffer`, and at most that long.
   * Begin at position 0 and go on at `next`, until there is none. Every block that is held from the
   * first call to the last is read at least once, whatever is inserted and evicted in between.
   */
  readHeld(slot: number, position: number, buffer: Uint32Array): HeldPiece {
    const ring = this.#rings[slot];
    let words = buffer.length;
    if (ring === undefined) return { keys: buffer.subarray(words), next: undefined };
    let at = Math.max(position, ring.start);
    for (; at < ring.end && words >= 2; at++) {
      const id = ring.at(at);
      if (!this.#sets.has(this.#table.payload(id), slot)) continue;
      words -= 2;
      this.#table.readKey(id, buffer, words);
    }
    return { keys: buffer.subarray(words), next: at < ring.end ? at : undefined };
  }

  /**
   * Writes into `out[slot]`, for every slot below `out.length`, how many blocks of the path it
   * holds without a gap from the first. Allocates nothing, and ends where nobody is left.
   */
  // Hot path: pick-64, pick-1000 and prefix-tree in bench/.
  match(keys: Uint32Array, out: Int32Array): void {
    out.fill(0);
    const count = Math.min(keys.length >>> 1, CONTENT_KEYS_MAX);
    const words = (this.#slotCount + 31) >>> 5;
    let active = this.#active;
    let next = this.#next;
    if (count === 0 || words === 0) return;
    let id = this.#table.find(keys[0]!, keys[1]!);
    if (id === NONE) return;
    let set = this.#table.payload(id);
    this.#sets.toPlane(set, active, words);
    let i = 1;
    for (; i < count; i++) {
      id = this.#table.find(keys[i * 2]!, keys[i * 2 + 1]!);
      if (id === NONE) break;
      const previous = set;
      set = this.#table.payload(id);
      // Most blocks have the one or two holders of the block before.
      if (isInline(set) && inlineHolders(set) === inlineHolders(previous)) continue;
      this.#sets.toPlane(set, next, words);
      let left = 0;
      for (let w = 0; w < words; w++) {
        const before = active[w]!;
        const dropped = before & ~next[w]!;
        if (dropped !== 0) writeSlots(out, w, dropped, i);
        next[w] = before & next[w]!;
        left |= next[w]!;
      }
      const swap = active;
      active = next;
      next = swap;
      if (left === 0) return;
    }
    for (let w = 0; w < words; w++) writeSlots(out, w, active[w]!, i);
  }

  /** `slot` no longer holds these blocks, or never did. Blocks it does not hold are ignored. */
  removeHolder(keys: Uint32Array, slot: number): void {
    const count = Math.min(keys.length >>> 1, CONTENT_KEYS_MAX);
    for (let i = 0; i < count; i++) {
      const id = this.#table.find(keys[i * 2]!, keys[i * 2 + 1]!);
      if (id !== NONE && this.#sets.has(this.#table.payload(id), slot)) this.#release(id, slot);
    }
    this.#dropStaleIds(slot);
  }

  /** Forgets an endpoint, so that its slot can be given to another. O(blocks it held). */
  removeEndpoint(slot: number): void {
    while (this.#evictOne(slot, true)) {
      // Every step takes one block or one stale id.
    }
    this.#setRing(slot, undefined, this.#rings[slot]?.byteLength ?? 0);
    this.#capacity[slot] = 0x7fff_ffff;
  }

  /** Adds the holder, or notes the block's renewed use: true if it was held. */
  #hold(id: number, slot: number): boolean {
    const set = this.#table.payload(id);
    if (this.#sets.has(set, slot)) {
      this.#table.setPayload(id, this.#sets.reference(set, slot));
      return true;
    }
    if (!this.#sets.canAdd(set)) {
      this.#leftOut++;
      return false;
    }
    this.#table.setPayload(id, this.#sets.add(set, slot));
    this.#held[slot]!++;
    this.#pairs.added(id, slot);
    this.#pushId(id, slot);
    return false;
  }

  #pushId(id: number, slot: number): void {
    let ring = this.#rings[slot];
    if (ring === undefined) {
      ring = new ClockRing();
      this.#rings[slot] = ring;
    }
    const before = ring.byteLength;
    ring.push(id);
    this.#ringBytes += ring.byteLength - before;
  }

  /** Takes `slot` out of a block's holders; the ring's reference to it is stale then. */
  #release(id: number, slot: number): void {
    const set = this.#sets.remove(this.#table.payload(id), slot);
    this.#held[slot]!--;
    this.#pairs.removed();
    if (set === 0) this.#table.remove(id);
    else this.#table.setPayload(id, set);
  }

  /**
   * Moves an endpoint's clock one step: evicts its oldest block, unless that was used again and
   * `force` is not set; then the block goes to the ring's end. False when the ring is empty.
   */
  #evictOne(slot: number, force: boolean): boolean {
    const ring = this.#rings[slot];
    if (ring === undefined || ring.length === 0) return false;
    const before = ring.byteLength;
    const id = ring.shift();
    this.#ringBytes += ring.byteLength - before;
    const set = this.#table.payload(id);
    if (!this.#sets.has(set, slot)) return true;
    if (!force && this.#sets.isReferenced(set, slot)) {
      this.#table.setPayload(id, this.#sets.unreference(set, slot));
      this.#pushId(id, slot);
      return true;
    }
    this.#release(id, slot);
    return true;
  }

  #evictOverCapacity(slot: number): void {
    while (this.#held[slot]! > this.#capacity[slot]!) {
      const held = this.#held[slot]!;
      if (!this.#evictOne(slot, false)) return;
      this.#evictedForCapacity += held - this.#held[slot]!;
    }
  }

  /** Before an insertion: evicts until the table may take `blocks` more. */
  #makeRoom(blocks: number): void {
    while (this.#table.size + blocks > this.#table.entriesMax && this.#evictColdest());
  }

  /** Takes a batch of the coldest blocks of the endpoint that holds most. False when all is gone. */
  #evictColdest(): boolean {
    let largest = 0;
    for (let slot = 1; slot < this.#slotCount; slot++) {
      if (this.#held[slot]! > this.#held[largest]!) largest = slot;
    }
    const held = this.#held[largest]!;
    if (held === 0) return false;
    const goal = Math.max(0, held - EVICT_BATCH);
    while (this.#held[largest]! > goal && this.#evictOne(largest, false));
    this.#evictedForBytes += held - this.#held[largest]!;
    return true;
  }

  /** Rebuilds a ring that explicit removals have filled with stale or doubled ids. */
  #dropStaleIds(slot: number): void {
    const ring = this.#rings[slot];
    if (ring === undefined || ring.length <= this.#held[slot]! * 2 + STALE_IDS_MAX) return;
    const before = ring.byteLength;
    const kept = new ClockRing(ring.end);
    const seen = new Set<number>();
    while (ring.length > 0) {
      const id = ring.shift();
      if (seen.has(id) || !this.#sets.has(this.#table.payload(id), slot)) continue;
      seen.add(id);
      kept.push(id);
    }
    this.#setRing(slot, kept, before);
  }

  #setRing(slot: number, ring: ClockRing | undefined, bytesBefore: number): void {
    this.#ringBytes += (ring?.byteLength ?? 0) - bytesBefore;
    this.#rings[slot] = ring;
  }
}

function writeSlots(out: Int32Array, word: number, bits: number, value: number): void {
  for (let rest = bits; rest !== 0; rest &= rest - 1) {
    out[word * 32 + 31 - Math.clz32(rest & -rest)] = value;
  }
}

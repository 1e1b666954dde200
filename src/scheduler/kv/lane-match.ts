// How far along a path of keys each lane that answers holds every block: all lanes at once, in bit planes.
//
//   path      k0      k1      k2      k3
//   holders   a b c   a b     a b′    a c      ′ below the GPUs
//   active    a b c   a b     a b     a        a gap ends a match: a has 4, b 3 with 2 on GPUs, c 1
//
// What it reads is the ResidentIndex's, whose part it is.

import { type BlockEnds, END_UNKNOWN } from "./block-ends.ts";
import { type BlockTable, NONE } from "./block-table.ts";
import { CONTENT_KEYS_MAX } from "./content-keys.ts";
import { type HolderSets, isInline } from "./holder-sets.ts";
import type { RecentEntries } from "./recent-entries.ts";
import type { ResidentLanes } from "./resident-lanes.ts";

/** Of a bit plane: the places of holders on GPUs. */
const GPU_PLACES = 0x5555_5555;

export interface LaneMatchOptions {
  readonly table: BlockTable;
  readonly sets: HolderSets;
  readonly lanes: ResidentLanes;
  readonly recent: RecentEntries;
  readonly ends: BlockEnds;
}

export class LaneMatch {
  readonly #table: BlockTable;
  readonly #sets: HolderSets;
  readonly #lanes: ResidentLanes;
  readonly #recent: RecentEntries;
  readonly #ends: BlockEnds;
  // Lanes still in the match, those of them with the block on GPUs, and since which block.
  readonly #active: Uint32Array;
  readonly #onGpu: Uint32Array;
  readonly #since: Int32Array;
  readonly #plane: Uint32Array;
  /** Of the last match: the ends of the path's blocks, as far as it was looked at. */
  readonly #pathEnds = new Uint16Array(CONTENT_KEYS_MAX);
  #pathLength = 0;

  constructor({ table, sets, lanes, recent, ends }: LaneMatchOptions) {
    this.#table = table;
    this.#sets = sets;
    this.#lanes = lanes;
    this.#recent = recent;
    this.#ends = ends;
    this.#active = new Uint32Array(sets.planeWords);
    this.#onGpu = new Uint32Array(sets.planeWords);
    this.#since = new Int32Array(lanes.slots.length);
    this.#plane = new Uint32Array(sets.planeWords);
  }

  /**
   * Writes, by slot of the lanes that answer, how many blocks of the path they hold without a gap from
   * the first, and how many of those on GPUs; 0 for every other slot. Allocates nothing.
   */
  // Hot path: each pick in a pool whose caches are known exactly.
  match(keys: Uint32Array, matched: Int32Array, onGpu: Int32Array): void {
    matched.fill(0);
    onGpu.fill(0);
    const count = Math.min(keys.length >>> 1, CONTENT_KEYS_MAX);
    const { words } = this.#lanes;
    this.#active.set(this.#lanes.answering);
    this.#onGpu.fill(0);
    let set = 0;
    let isAnyLeft = words > 0;
    let i = 0;
    for (; isAnyLeft && i < count; i++) {
      const id = this.#table.find(keys[i * 2]!, keys[i * 2 + 1]!);
      if (id === NONE) break;
      this.#recent.met(id);
      this.#pathEnds[i] = this.#ends.at(id);
      const previous = set;
      set = this.#table.payload(id);
      // Most blocks have the one or two holders of the block before.
      if (set === previous && isInline(set)) continue;
      this.#sets.toPlane(set, this.#plane, words);
      isAnyLeft = this.#narrow(words, i, matched, onGpu);
    }
    this.#pathLength = i;
    // Whoever is left has all blocks up to here.
    this.#plane.fill(0, 0, words);
    this.#narrow(words, i, matched, onGpu);
  }

  /** Where the first `blocks` blocks of the path that was matched last end; END_UNKNOWN if that is not known. */
  endOf(blocks: number): number {
    if (blocks === 0) return 0;
    return blocks > this.#pathLength ? END_UNKNOWN : this.#pathEnds[blocks - 1]!;
  }

  /** Goes on with those of #active that are in #plane; notes of the others that they end at block `at`. */
  #narrow(words: number, at: number, matched: Int32Array, onGpu: Int32Array): boolean {
    const { slots } = this.#lanes;
    let left = 0;
    for (let w = 0; w < words; w++) {
      const before = this.#active[w]!;
      if (before === 0) continue;
      const plane = this.#plane[w]!;
      const after = before & (plane | (plane >>> 1));
      const wasOnGpu = this.#onGpu[w]!;
      const isOnGpu = plane & after & GPU_PLACES;
      for (let bits = wasOnGpu ^ isOnGpu; bits !== 0; bits &= bits - 1) {
        const bit = bits & -bits;
        const lane = w * 16 + ((31 - Math.clz32(bit)) >>> 1);
        if ((isOnGpu & bit) !== 0) this.#since[lane] = at;
        else onGpu[slots[lane]!]! += at - this.#since[lane]!;
      }
      for (let bits = before & ~after; bits !== 0; bits &= bits - 1) {
        matched[slots[w * 16 + ((31 - Math.clz32(bits & -bits)) >>> 1)]!] = at;
      }
      this.#active[w] = after;
      this.#onGpu[w] = isOnGpu;
      left |= after;
    }
    return left !== 0;
  }
}

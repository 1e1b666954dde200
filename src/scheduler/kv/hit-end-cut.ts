// Cuts a match back to where hits can end, at endpoints whose caches serve no prefix of any length.
//
//   matched   k0  k1  k2  k3  k4
//   ends          ▲                   ▲        no hit is longer than two blocks
//
// What an endpoint says of it are keys beside its blocks' own: see hit-end-keys.ts. Which lanes say so, by ENDS_MARKED,
// is kept here. What it reads is the ResidentIndex's, whose part it is.

import { type BlockTable, NONE } from "./block-table.ts";
import { hitEndHigh, hitEndLow } from "./hit-end-keys.ts";
import type { HolderSets } from "./holder-sets.ts";
import type { RecentEntries } from "./recent-entries.ts";
import type { ResidentLanes } from "./resident-lanes.ts";

export interface HitEndCutOptions {
  readonly table: BlockTable;
  readonly sets: HolderSets;
  readonly lanes: ResidentLanes;
  readonly recent: RecentEntries;
}

export class HitEndCut {
  readonly #table: BlockTable;
  readonly #sets: HolderSets;
  readonly #lanes: ResidentLanes;
  readonly #recent: RecentEntries;
  /** By lane: 1 where hits end only with what is told. */
  readonly #marked: Uint8Array;
  #markedCount = 0;
  /** Lanes whose match is still to be cut. */
  readonly #left: Int32Array;

  constructor({ table, sets, lanes, recent }: HitEndCutOptions) {
    this.#table = table;
    this.#sets = sets;
    this.#lanes = lanes;
    this.#recent = recent;
    this.#marked = new Uint8Array(lanes.slots.length);
    this.#left = new Int32Array(lanes.slots.length);
  }

  /** Whether a lane's hits end only with what is told. */
  mark(lane: number, isMarked: boolean): void {
    this.#markedCount += Number(isMarked) - this.#marked[lane]!;
    this.#marked[lane] = Number(isMarked);
  }

  /**
   * Takes from what LaneMatch wrote what no hit can end with, in the lanes that are marked. Where none is, it is
   * nothing; else a look-up for each block of the path, from the last that anybody holds.
   */
  // Hot path: each pick in a pool whose caches are known exactly.
  cut(keys: Uint32Array, matched: Int32Array, onGpu: Int32Array): void {
    if (this.#markedCount === 0) return;
    const { slots, end } = this.#lanes;
    let count = 0;
    let longest = 0;
    for (let lane = 0; lane < end; lane++) {
      if (this.#marked[lane] === 0 || !this.#lanes.answers(lane)) continue;
      this.#left[count++] = lane;
      longest = Math.max(longest, matched[slots[lane]!]!);
    }
    const last = Math.min(longest, (keys.length >>> 1) - 1);
    for (let i = last; i >= 0 && count > 0; i--) {
      const id = this.#table.find(hitEndLow(keys[i * 2]!), hitEndHigh(keys[i * 2 + 1]!));
      const ended = id === NONE ? 0 : this.#table.payload(id);
      if (ended !== 0) this.#recent.met(id);
      let left = 0;
      for (let at = 0; at < count; at++) {
        const lane = this.#left[at]!;
        const slot = slots[lane]!;
        // It may end with a block of the first content that is not held whole.
        const isReached = matched[slot]! >= i;
        if (isReached && ended !== 0 && this.#sets.has(ended, lane * 2)) continue;
        this.#left[left++] = lane;
        if (matched[slot]! > i) matched[slot] = i;
        if (onGpu[slot]! > matched[slot]!) onGpu[slot] = matched[slot]!;
      }
      count = left;
    }
  }
}

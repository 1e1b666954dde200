// Which entries of a BlockTable look-ups have met lately, one bit each, so that the coldest can go: CLOCK.
//
//   bits   1 0 0 1 1 0 1 …        met: 1      the hand passes and finds 1: 0, and on; finds 0: that one goes
//              ^hand

import { type BlockTable, NONE } from "./block-table.ts";
import { assert } from "../support/assert.ts";

/** Entries looked at for the coldest; the last of them goes if all were met lately. */
const LOOK_MAX = 64;

export class RecentEntries {
  readonly #table: BlockTable;
  readonly #bits: Uint32Array;
  #hand = 0;

  constructor(table: BlockTable) {
    this.#table = table;
    this.#bits = new Uint32Array((table.entriesMax + 31) >>> 5);
  }

  get byteLength(): number {
    return this.#bits.byteLength;
  }

  /** A look-up has met the entry. */
  met(id: number): void {
    this.#bits[id >>> 5]! |= 1 << (id & 31);
  }

  /** The entry is another block's from now on, or nobody's. */
  forget(id: number): void {
    this.#bits[id >>> 5]! &= ~(1 << (id & 31));
  }

  /** The coldest entry that is near the hand; it must go. The table must have one. */
  takeColdest(): number {
    for (let looked = 1; looked < LOOK_MAX + this.#table.idsEnd; looked++) {
      const id = this.#hand;
      this.#hand = id + 1 < this.#table.idsEnd ? id + 1 : 0;
      if (this.#table.payload(id) === 0) continue;
      const isRecent = (this.#bits[id >>> 5]! & (1 << (id & 31))) !== 0;
      this.forget(id);
      if (!isRecent || looked >= LOOK_MAX) return id;
    }
    assert(false, "a table without entries has none to shed");
    return NONE;
  }
}

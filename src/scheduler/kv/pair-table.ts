// A table of keys seen as (block, endpoint) pairs: what a digest of who holds what is made of.
//
//   words of a pair   low, high ^ mix[slot]      see pairHigh in pair-words.ts
//
// Owned by the index whose pairs they are: it tells what is added and removed, and has the sets.

import type { BlockTable, KeyPiece, KeyTable } from "./block-table.ts";
import type { HolderSets } from "./holder-sets.ts";
import { pairHigh } from "./pair-words.ts";

/** No endpoint: a holder that does not count. */
export const NO_PAIR_SLOT = -1;
/** Entries that are looked at in one piece: a fraction of a millisecond. */
const READ_ENTRIES_MAX = 4_096;

export interface PairTableOptions {
  readonly table: BlockTable;
  readonly sets: HolderSets;
  /** Words of a bit plane that may have holders in them. */
  readonly words: () => number;
  /** The slot that a place of a holder set stands for; NO_PAIR_SLOT for one that does not count. */
  readonly slotOf: (place: number) => number;
}

export class PairTable implements KeyTable {
  readonly #options: PairTableOptions;
  readonly #plane: Uint32Array;
  readonly #key = new Uint32Array(2);
  addedCount = 0;
  removedCount = 0;
  onAdded: KeyTable["onAdded"];

  constructor(options: PairTableOptions) {
    this.#options = options;
    this.#plane = new Uint32Array(options.sets.planeWords);
  }

  get size(): number {
    return this.addedCount - this.removedCount;
  }

  /** Entry `id` is held by `slot` from now on. */
  added(id: number, slot: number): void {
    this.addedCount += 1;
    if (this.onAdded === undefined || slot === NO_PAIR_SLOT) return;
    this.#options.table.readKey(id, this.#key, 0);
    this.onAdded(this.#key[0]!, pairHigh(this.#key[1]!, slot));
  }

  removed(): void {
    this.removedCount += 1;
  }

  /** Whole entries: `buffer` has room for one that everybody holds, at least. */
  readKeys(position: number, buffer: Uint32Array): KeyPiece {
    const { sets, table } = this.#options;
    const end = Math.min(table.idsEnd, position + READ_ENTRIES_MAX);
    const reserved = Math.min(buffer.length, sets.planeWords * 32 * 2);
    let words = 0;
    let id = position;
    for (; id < end && words + reserved <= buffer.length; id++) {
      const set = table.payload(id);
      if (set !== 0) words = this.#readEntry(id, buffer, words);
    }
    return { keys: buffer.subarray(0, words), next: id < table.idsEnd ? id : undefined };
  }

  #readEntry(id: number, buffer: Uint32Array, from: number): number {
    const { sets, slotOf, table } = this.#options;
    const plane = this.#plane;
    const planeWords = this.#options.words();
    table.readKey(id, this.#key, 0);
    sets.toPlane(table.payload(id), plane, planeWords);
    let words = from;
    for (let w = 0; w < planeWords; w++) {
      for (let bits = plane[w]!; bits !== 0; bits &= bits - 1) {
        const slot = slotOf(w * 32 + 31 - Math.clz32(bits & -bits));
        if (slot === NO_PAIR_SLOT) continue;
        buffer[words] = this.#key[0]!;
        buffer[words + 1] = pairHigh(this.#key[1]!, slot);
        words += 2;
      }
    }
    return words;
  }
}

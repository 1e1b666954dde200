// Entries that nothing holds, from the one that has been so the longest to the newest: a list in two words of
// their rows. Links are ids + 1 in the low bits; the top bits of the first word are somebody else's.

import { NONE } from "../block-table.ts";
import type { Rows } from "./rows.ts";

/** Bits of a link. */
export const LINK_BITS = 26;
const LINK_MASK = 2 ** LINK_BITS - 1;

export class UnheldList {
  readonly #rows: Rows;
  /** The word that names the older one; the next names the newer. */
  readonly #older: number;
  readonly #newer: number;
  #oldest = 0;
  #newest = 0;

  constructor(rows: Rows, word: number) {
    this.#rows = rows;
    this.#older = word;
    this.#newer = word + 1;
  }

  /** NONE where there is none. */
  get oldest(): number {
    return this.#oldest - 1;
  }

  /** The next newer one, or NONE. */
  newer(id: number): number {
    return this.#rows.get(id, this.#newer) - 1;
  }

  push(id: number): void {
    this.#setOlder(id, this.#newest);
    this.#rows.set(id, this.#newer, 0);
    if (this.#newest === 0) this.#oldest = id + 1;
    else this.#rows.set(this.#newest - 1, this.#newer, id + 1);
    this.#newest = id + 1;
  }

  remove(id: number): void {
    const older = this.#rows.get(id, this.#older) & LINK_MASK;
    const newer = this.newer(id);
    if (older === 0) this.#oldest = newer + 1;
    else this.#rows.set(older - 1, this.#newer, newer + 1);
    if (newer === NONE) this.#newest = older;
    else this.#setOlder(newer, older);
  }

  #setOlder(id: number, older: number): void {
    const others = this.#rows.get(id, this.#older) & ~LINK_MASK;
    this.#rows.set(id, this.#older, (others | older) >>> 0);
  }
}

// Which of two summaries of a pool is newer.
//
// Within an incarnation the one with the greater number. Incarnations are random, so of two of them it is
// the one that was heard of later; what is replaced is void for good, or what an object said on its way
// out would alternate with what its successor says.

import type { PoolSummary } from "./summary.ts";

/** Replaced incarnations that are remembered: an object starts again far less often than a call may hang. */
export const REPLACED_INCARNATIONS_MAX = 8;

/** Of one pool. */
export class SummaryOrder {
  #incarnation: string | undefined;
  #seq = 0;
  /** Oldest first. */
  readonly #replaced: string[] = [];

  /** False: it is not newer than what was taken before, and says nothing. */
  take({ incarnation, seq }: Pick<PoolSummary, "incarnation" | "seq">): boolean {
    if (incarnation === this.#incarnation) {
      if (seq <= this.#seq) return false;
    } else {
      if (this.#replaced.includes(incarnation)) return false;
      if (this.#incarnation !== undefined) this.#replaced.push(this.#incarnation);
      if (this.#replaced.length > REPLACED_INCARNATIONS_MAX) this.#replaced.shift();
      this.#incarnation = incarnation;
    }
    this.#seq = seq;
    return true;
  }
}

// Which of two summaries of a pool is newer.
//
// Within an incarnation the one with the greater number. Incarnations are random, so of two of them it is
// the one that was heard of later; what is replaced is void, or what an object said on its way out would
// alternate with what its successor says.
//
// Who was heard of later need not have begun later: a call may have hung, and a pool's object may be moved to
// another jurisdiction and back. So what is replaced is void for as long as its successor talks: that is a
// lease, and who goes on talking when it is over is the one that lives.

import { type PoolSummary, SUMMARY_INTERVAL_MS } from "./summary.ts";

/** Replaced incarnations that are remembered: an object starts again far less often than a call may hang. */
export const REPLACED_INCARNATIONS_MAX = 8;
/** With each summary that is taken, incarnations that were replaced are void for so long. */
export const INCARNATION_LEASE_MS = 3 * SUMMARY_INTERVAL_MS;

/** Of one pool. */
export class SummaryOrder {
  #incarnation: string | undefined;
  #seq = 0;
  #leaseEndMs = -Infinity;
  /** With the last number that was taken, oldest first. */
  readonly #replaced = new Map<string, number>();

  /** `atMs`: when it was sent. False: it is not newer than what was taken before, and says nothing. */
  take({ incarnation, seq }: Pick<PoolSummary, "incarnation" | "seq">, atMs: number): boolean {
    if (incarnation !== this.#incarnation) {
      if (!this.#mayFollow(incarnation, seq, atMs)) return false;
      this.#replace(incarnation);
    } else if (seq <= this.#seq) return false;
    this.#seq = seq;
    this.#leaseEndMs = atMs + INCARNATION_LEASE_MS;
    return true;
  }

  #mayFollow(incarnation: string, seq: number, atMs: number): boolean {
    const before = this.#replaced.get(incarnation);
    return before === undefined || (seq > before && atMs >= this.#leaseEndMs);
  }

  #replace(incarnation: string): void {
    this.#replaced.delete(incarnation);
    if (this.#incarnation !== undefined) this.#replaced.set(this.#incarnation, this.#seq);
    if (this.#replaced.size > REPLACED_INCARNATIONS_MAX) {
      const [oldest] = this.#replaced.keys();
      this.#replaced.delete(oldest!);
    }
    this.#incarnation = incarnation;
  }
}

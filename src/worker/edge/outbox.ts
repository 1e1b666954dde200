// What an isolate has decided alone and not yet told the pool's object: commits, and ends of tickets.
//
// The oldest go where the object is away for longer than there is room. That harms no count for good: the
// relay's reports name the tickets, and the object puts them back by them.

import { EDGE_BATCH_MAX, type LocalCommit, type LocalEnd } from "../../scheduler/edge/contracts.ts";

/** Of commits, and of ends; several batches, for a second or two of an object's reset. */
export const OUTBOX_MAX = 8 * EDGE_BATCH_MAX;
/** Of commits' keys, which are nearly all that they hold. */
export const OUTBOX_KEY_BYTES_MAX = 4 * 1024 * 1024;

/** A commit that waits. `decidedAgoMs` is filled in as it is sent. */
export interface PendingCommit {
  /** Of the replica's dispatch. */
  readonly number: number;
  readonly commit: Omit<LocalCommit, "decidedAgoMs">;
  readonly decidedAtMs: number;
}

export interface Batch {
  readonly commits: readonly PendingCommit[];
  readonly ends: readonly LocalEnd[];
}

export class Outbox {
  /** Oldest first. */
  #commits: PendingCommit[] = [];
  #ends: LocalEnd[] = [];
  #keyBytes = 0;
  readonly #dropped: (count: number) => void;

  /** `dropped` is told of what will never be told. */
  constructor(dropped: (count: number) => void) {
    this.#dropped = dropped;
  }

  get isEmpty(): boolean {
    return this.#commits.length === 0 && this.#ends.length === 0;
  }

  /** Commits that wait. */
  get commitCount(): number {
    return this.#commits.length;
  }

  /** Of the oldest commit; undefined without one. */
  get firstNumber(): number | undefined {
    return this.#commits[0]?.number;
  }

  addCommit(pending: PendingCommit): void {
    this.#commits.push(pending);
    this.#count(pending, 1);
    this.#bound();
  }

  addEnd(end: LocalEnd): void {
    this.#ends.push(end);
    this.#bound();
  }

  /** Takes the oldest out, for a call. */
  take(): Batch {
    const commits = this.#commits.splice(0, EDGE_BATCH_MAX);
    for (const pending of commits) this.#count(pending, -1);
    return { commits, ends: this.#ends.splice(0, EDGE_BATCH_MAX) };
  }

  /** Of a call that failed: whether the object has heard it is not known, and telling it twice does no harm. */
  putBack({ commits, ends }: Batch): void {
    for (const pending of commits) this.#count(pending, 1);
    this.#commits = [...commits, ...this.#commits];
    this.#ends = [...ends, ...this.#ends];
    this.#bound();
  }

  /** Nobody wants to hear of it. */
  clear(): void {
    this.#commits = [];
    this.#ends = [];
    this.#keyBytes = 0;
  }

  #count({ commit }: PendingCommit, sign: 1 | -1): void {
    this.#keyBytes += sign * commit.keys.byteLength;
  }

  #bound(): void {
    let dropped = 0;
    while (this.#commits.length > OUTBOX_MAX || this.#keyBytes > OUTBOX_KEY_BYTES_MAX) {
      this.#count(this.#commits.shift()!, -1);
      dropped += 1;
    }
    while (this.#ends.length > OUTBOX_MAX) {
      this.#ends.shift();
      dropped += 1;
    }
    if (dropped > 0) this.#dropped(dropped);
  }
}

// The batches a publisher keeps for replay: the last `size` of them, by number.
//
//   #batches   [ 7 | 8 | 9 | 5 | 6 ]     a ring; #start is where the oldest is
//                          ^ #start

import { assert } from "../../../scheduler/support/assert.ts";

export interface PublishedBatch {
  readonly sequence: number;
  readonly payload: Uint8Array;
}

export class BatchHistory {
  readonly #size: number;
  #batches: PublishedBatch[] = [];
  #start = 0;

  /** `size`: at least one. */
  constructor(size: number) {
    assert(size >= 1, "a history keeps a batch");
    this.#size = size;
  }

  get count(): number {
    return this.#batches.length;
  }

  /** Keeps a batch, whose number is above all before it. The oldest leaves when there is no room. */
  push(batch: PublishedBatch): void {
    if (this.#batches.length < this.#size) {
      this.#batches.push(batch);
      return;
    }
    this.#batches[this.#start] = batch;
    this.#start = (this.#start + 1) % this.#size;
  }

  /** What is kept from `sequence` on, oldest first. A copy: batches may come and go meanwhile. */
  from(sequence: number): PublishedBatch[] {
    const batches = this.#batches;
    return [...batches.slice(this.#start), ...batches.slice(0, this.#start)].filter(
      (batch) => batch.sequence >= sequence,
    );
  }

  clear(): void {
    this.#batches = [];
    this.#start = 0;
  }
}

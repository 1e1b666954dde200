// A flow: the requests of one fairness id at one priority, in the order they are to be served.

import { IndexedHeap } from "../support/indexed-heap.ts";
import type { FlowView } from "./contracts.ts";
import { FlowService } from "./flow-counts.ts";
import type { PriorityBand } from "./priority-band.ts";
import { isServedBefore, type QueueEntry } from "./queue-entry.ts";

export class Flow implements FlowView {
  readonly band: PriorityBand;
  readonly fairnessId: string;
  weight = 1;
  /** Let through and not ended: the flow is not collected before. */
  inFlightCount = 0;
  /** Of all who wait. */
  waitingBytes = 0;
  readonly service = new FlowService();
  #awayCount = 0;
  /** Requests that have ever waited here. */
  #joinedCount = 0;
  readonly #queue = new IndexedHeap<QueueEntry>(
    isServedBefore,
    (entry, index) => void (entry.orderIndex = index),
  );

  constructor(band: PriorityBand, fairnessId: string) {
    this.band = band;
    this.fairnessId = fairnessId;
  }

  /** Of those who wait, the ones that can be chosen. */
  get waitingCount(): number {
    return this.#queue.size;
  }

  /** The others. */
  get awayCount(): number {
    return this.#awayCount;
  }

  /** Those of the flow that are still before this one, if it is served in the order it was joined. */
  aheadOf(entry: QueueEntry): number {
    const gone = this.#joinedCount - this.#queue.size - this.#awayCount;
    return Math.max(0, entry.ordinal - gone - 1);
  }

  get head(): QueueEntry | undefined {
    return this.#queue.first;
  }

  get isIdle(): boolean {
    return this.#queue.size + this.#awayCount === 0 && this.inFlightCount === 0;
  }

  /** One that is not away. */
  add(entry: QueueEntry): void {
    this.#joinedCount += 1;
    entry.ordinal = this.#joinedCount;
    this.#queue.add(entry);
    this.waitingBytes += entry.request.bytes;
  }

  remove(entry: QueueEntry): void {
    if (entry.isAway) this.#awayCount -= 1;
    else this.#queue.removeAt(entry.orderIndex);
    this.waitingBytes -= entry.request.bytes;
  }

  setAway(entry: QueueEntry, isAway: boolean): void {
    if (isAway === entry.isAway) return;
    entry.isAway = isAway;
    this.#awayCount += isAway ? 1 : -1;
    if (isAway) this.#queue.removeAt(entry.orderIndex);
    else this.#queue.add(entry);
  }
}

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
  readonly service = new FlowService();
  readonly #queue = new IndexedHeap<QueueEntry>(
    isServedBefore,
    (entry, index) => void (entry.orderIndex = index),
  );

  constructor(band: PriorityBand, fairnessId: string) {
    this.band = band;
    this.fairnessId = fairnessId;
  }

  get waitingCount(): number {
    return this.#queue.size;
  }

  get head(): QueueEntry | undefined {
    return this.#queue.first;
  }

  get isIdle(): boolean {
    return this.#queue.size === 0 && this.inFlightCount === 0;
  }

  add(entry: QueueEntry): void {
    this.#queue.add(entry);
  }

  remove(entry: QueueEntry): void {
    this.#queue.removeAt(entry.orderIndex);
  }
}

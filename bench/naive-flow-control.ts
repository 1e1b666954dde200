// Flow control as one would write it first: one list of what waits, looked through for each dispatch.

import type { QueuedRequest } from "../src/scheduler/flow-control/contracts.ts";

/** Strict priority, then the flow that was given least, then who came first. */
export class NaiveFlowControl {
  readonly #waiting: QueuedRequest[] = [];
  readonly #served = new Map<string, number>();

  get size(): number {
    return this.#waiting.length;
  }

  enqueue(request: QueuedRequest): void {
    this.#waiting.push(request);
  }

  next(): QueuedRequest | undefined {
    const best = this.#waiting.reduce<QueuedRequest | undefined>(
      (found, request) => (found === undefined || this.#isBefore(request, found) ? request : found),
      undefined,
    );
    if (best === undefined) return undefined;
    this.#waiting.splice(this.#waiting.indexOf(best), 1);
    const cost = (best.uncachedTokens + 2 * best.outputTokens) / best.weight;
    this.#served.set(flowOf(best), this.#servedOf(best) + cost);
    return best;
  }

  cancel(requestId: string): void {
    const at = this.#waiting.findIndex((request) => request.requestId === requestId);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  #isBefore(a: QueuedRequest, b: QueuedRequest): boolean {
    if (a.priority !== b.priority) return a.priority > b.priority;
    const [servedA, servedB] = [this.#servedOf(a), this.#servedOf(b)];
    return servedA === servedB ? a.receivedAtMs < b.receivedAtMs : servedA < servedB;
  }

  #servedOf(request: QueuedRequest): number {
    return this.#served.get(flowOf(request)) ?? 0;
  }
}

function flowOf({ fairnessId, priority }: QueuedRequest): string {
  return `${priority}/${fairnessId}`;
}

// What an isolate has sent and its snapshot does not show yet.
//
//   dispatched ──sync──► the object counts it ──snapshot──► shown: dropped here
//
// A number names each: who tells the object remembers the last one it has told, and which of them a snapshot
// must contain. In numbers' order, oldest first; bounded by number and by age, for a commit that was lost will
// never be shown.

import type { PromptWork } from "../model/endpoint-table.ts";

/** Past it the oldest count no more: more than an isolate sends between two snapshots. */
export const OWN_DISPATCHES_MAX = 1_024;
/** One that no snapshot has shown after so long was lost on its way to the object. */
export const OWN_DISPATCH_COUNTS_MS = 10_000;

export interface OwnDispatch {
  readonly slot: number;
  /** As EndpointTable.dispatched takes them. */
  readonly tokens: number;
  readonly prompt: PromptWork;
  readonly atMs: number;
  /** The object is asked about it: it counts until the answer. */
  readonly isProposed?: boolean;
}

export class OwnDispatches {
  readonly #counted = new Map<number, OwnDispatch>();
  #last = 0;

  /** Number of the last one; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  add(dispatch: OwnDispatch): number {
    if (this.#counted.size >= OWN_DISPATCHES_MAX) this.#dropFirst();
    this.#last += 1;
    this.#counted.set(this.#last, dispatch);
    return this.#last;
  }

  /** It has ended. Undefined for one that counts no more. */
  take(number: number): OwnDispatch | undefined {
    const dispatch = this.#counted.get(number);
    this.#counted.delete(number);
    return dispatch;
  }

  /** Those up to `shown` are in a snapshot. */
  shown(shown: number, nowMs: number): void {
    for (const [number, { atMs, isProposed }] of this.#counted) {
      const isOld = nowMs - atMs > OWN_DISPATCH_COUNTS_MS;
      if (number > shown && !isOld) return;
      if (isOld || isProposed !== true) this.#counted.delete(number);
    }
  }

  /** Of an endpoint that is gone. */
  forget(slot: number): void {
    for (const [number, dispatch] of this.#counted)
      if (dispatch.slot === slot) this.#counted.delete(number);
  }

  /** Oldest first. */
  all(): IterableIterator<OwnDispatch> {
    return this.#counted.values();
  }

  #dropFirst(): void {
    for (const number of this.#counted.keys()) {
      this.#counted.delete(number);
      return;
    }
  }
}

// Beginnings of requests that isolates have decided on, which their object need not hear of from here: a commit
// tells it of each, endpoint included. What ends within OPENED_HOLD_MS is told by its end alone.
//
// What lasts longer is told, so that an object whose batch was lost knows of it, and one that knows that the
// isolate has left does not take it for one that nobody carries: the hold ends well before that lease does
// (afterLeftMs of the object's ledger).

import type { TicketOpened } from "../protocol/messages.ts";

export const OPENED_HOLD_MS = 1_000;

interface Held {
  readonly report: TicketOpened;
  readonly dueAtMs: number;
}

export class HeldOpenings {
  /** The next to be told comes first. At most as many as the relay carries, because those that end leave. */
  readonly #held = new Map<string, Held>();
  readonly #onDue: (report: TicketOpened) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(onDue: (report: TicketOpened) => void) {
    this.#onDue = onDue;
  }

  /** `key`: of its ticket, of which none is held. */
  hold(key: string, report: TicketOpened): void {
    this.#held.set(key, { report, dueAtMs: performance.now() + OPENED_HOLD_MS });
    this.#timer ??= setTimeout(() => this.#due(), OPENED_HOLD_MS);
  }

  /** It is held no more; undefined if it was not. */
  take(key: string): TicketOpened | undefined {
    const held = this.#held.get(key);
    this.#held.delete(key);
    return held?.report;
  }

  /** None is told any more. */
  clear(): void {
    this.#held.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #due(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const [key, { report, dueAtMs }] of this.#held) {
      // A timer may come a fraction of a millisecond early.
      if (dueAtMs - nowMs >= 1) {
        this.#timer = setTimeout(() => this.#due(), dueAtMs - nowMs);
        return;
      }
      this.#held.delete(key);
      this.#onDue(report);
    }
  }
}

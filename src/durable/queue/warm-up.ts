// An object that has lost its memory knows its endpoints, and not yet what runs on them: relays tell it when
// they are back. Until then, and for a moment only, its queue lets nobody through, or whoever asked
// first would be sent to engines that are full, and out of turn.

import type { Clock } from "../../scheduler/support/clock.ts";

/** For relays to come back. */
export const WARM_UP_MS = 2_000;
/** For the reports of one that is back. */
export const REPORTS_MS = 250;

export class WarmUp {
  readonly #clock: Clock;
  #untilMs: number;

  /** `hasPast`: the object has had endpoints in a life before. */
  constructor(clock: Clock, hasPast: boolean) {
    this.#clock = clock;
    this.#untilMs = hasPast ? clock() + WARM_UP_MS : -Infinity;
  }

  get isOver(): boolean {
    return this.#clock() >= this.#untilMs;
  }

  relayConnected(): void {
    this.#untilMs = Math.min(this.#untilMs, this.#clock() + REPORTS_MS);
  }
}

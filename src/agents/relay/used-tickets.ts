// Remembers which (ticket, attempt) pairs were used, for as long as a signature for one can hold.
// Entries leave in the order they came, because all are kept equally long.

import { PROTOCOL_LIMITS } from "../protocol/limits.ts";

/** No signature outlives this: its longest lifetime, plus the skew allowed at either end. */
export const USED_TICKET_MS =
  PROTOCOL_LIMITS.signatureLifetimeMsMax + 2 * PROTOCOL_LIMITS.clockSkewMsMax;

export class UsedTickets {
  /** Pair to the time it may be forgotten, in insertion order. */
  readonly #forgetAtMs = new Map<string, number>();

  /** Whether the pair was used before. */
  has(ticket: string, attempt: number, nowMs: number): boolean {
    this.#sweep(nowMs);
    return this.#forgetAtMs.has(pair(ticket, attempt));
  }

  /**
   * Uses the pair. "full" if usedTicketsMax others are remembered: then nothing may be served,
   * because a pair forgotten too early could be replayed.
   */
  use(ticket: string, attempt: number, nowMs: number): "used" | "replayed" | "full" {
    this.#sweep(nowMs);
    const key = pair(ticket, attempt);
    if (this.#forgetAtMs.has(key)) return "replayed";
    if (this.#forgetAtMs.size >= PROTOCOL_LIMITS.usedTicketsMax) return "full";
    this.#forgetAtMs.set(key, nowMs + USED_TICKET_MS);
    return "used";
  }

  #sweep(nowMs: number): void {
    for (const [key, forgetAtMs] of this.#forgetAtMs) {
      if (forgetAtMs > nowMs) return;
      this.#forgetAtMs.delete(key);
    }
  }
}

function pair(ticket: string, attempt: number): string {
  return `${attempt} ${ticket}`;
}

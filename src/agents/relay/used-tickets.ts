// Remembers which (ticket, attempt) pairs were used, for as long as a signature for one can hold.
// Entries leave in the order they came, because all are kept equally long.

import { PROTOCOL_LIMITS } from "../protocol/limits.ts";

export interface UsedTicketsLimits {
  /** How far ahead a signature may expire. */
  readonly lifetimeMsMax: number;
  /** Pairs remembered at once. */
  readonly pairsMax: number;
}

/** Of requests that engines serve. */
const SERVED: UsedTicketsLimits = {
  lifetimeMsMax: PROTOCOL_LIMITS.signatureLifetimeMsMax,
  pairsMax: PROTOCOL_LIMITS.usedTicketsMax,
};
/** Of requests to render. */
export const RENDERED: UsedTicketsLimits = {
  lifetimeMsMax: PROTOCOL_LIMITS.renderSignatureLifetimeMsMax,
  pairsMax: PROTOCOL_LIMITS.usedRendersMax,
};

/** Between two looks at what may be forgotten, while there is room. */
const SWEEP_MS = 1_000;

export class UsedTickets {
  readonly #pairsMax: number;
  /** No signature outlives this: its longest lifetime, plus the skew allowed at either end. */
  readonly #keptMs: number;
  #sweptAtMs = -Infinity;
  /** Pair to the time it may be forgotten, in insertion order. */
  readonly #forgetAtMs = new Map<string, number>();

  constructor({ lifetimeMsMax, pairsMax } = SERVED) {
    this.#pairsMax = pairsMax;
    this.#keptMs = lifetimeMsMax + 2 * PROTOCOL_LIMITS.clockSkewMsMax;
  }

  /** Whether the pair was used before. */
  has(ticket: string, attempt: number, nowMs: number): boolean {
    this.#sweep(nowMs, SWEEP_MS);
    return this.#isKept(pair(ticket, attempt), nowMs);
  }

  /**
   * Uses the pair. "full" if as many others as may be are remembered: then nothing may be served,
   * because a pair forgotten too early could be replayed.
   */
  use(ticket: string, attempt: number, nowMs: number): "used" | "replayed" | "full" {
    this.#sweep(nowMs, this.#forgetAtMs.size < this.#pairsMax ? SWEEP_MS : 0);
    const key = pair(ticket, attempt);
    if (this.#isKept(key, nowMs)) return "replayed";
    if (this.#forgetAtMs.size >= this.#pairsMax) return "full";
    // One that is over and has not left yet would keep its place among the oldest.
    this.#forgetAtMs.delete(key);
    this.#forgetAtMs.set(key, nowMs + this.#keptMs);
    return "used";
  }

  #isKept(key: string, nowMs: number): boolean {
    return (this.#forgetAtMs.get(key) ?? -Infinity) > nowMs;
  }

  /**
   * Lets go of what is over, unless that was done less than `everyMs` ago: a map's iterator passes all that
   * has been deleted before its first entry, which with 50,000 entries is 60 µs each time.
   */
  #sweep(nowMs: number, everyMs: number): void {
    if (nowMs - this.#sweptAtMs < everyMs) return;
    this.#sweptAtMs = nowMs;
    for (const [key, forgetAtMs] of this.#forgetAtMs) {
      if (forgetAtMs > nowMs) return;
      this.#forgetAtMs.delete(key);
    }
  }
}

function pair(ticket: string, attempt: number): string {
  return `${attempt} ${ticket}`;
}

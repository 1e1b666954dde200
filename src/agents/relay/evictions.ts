// Requests that the pool's object may end for others, from their admission to their end.
//
//   enter ──► evictable ──begin──► begun ──► leave
//                 │ evict            │ evict
//                 ▼                  ▼
//               ended             its relay says again that it has begun
//
// An evict may come before its request: the Worker has the grant, and has not sent the request yet.
// It is kept for a while, and ends the request when that comes.

import type { Clock } from "../../scheduler/support/clock.ts";
import type { Evict, StartedTicket } from "../protocol/messages.ts";

export const EVICTION_LIMITS = {
  /** Evicts kept for requests that have not come; past it the oldest is given up. */
  earlyMax: 1_000,
  /** How long each is kept. The object stops waiting for an end after as long. */
  earlyMs: 10_000,
} as const;

/** What became of an evict; also a metric label. `over`: its request had ended. */
export type EvictionOutcome = "ended" | "begun" | "early" | "over";

interface EarlyEvict {
  readonly retryAfterMs: number;
  readonly forgetAtMs: number;
}

export interface EvictionsOptions {
  readonly clock: Clock;
  /** Whether a request with the ticket has come and passed; what is carried is asked about first. */
  isUsed(ticket: string, attempt: number): boolean;
}

/** A request under way. Copies of one, of which one at most is served, share it. */
export class Carried implements StartedTicket {
  readonly ticket: string;
  readonly attempt: number;
  /** Whose object has granted it. */
  readonly shard: number;
  /** For its client, once it was evicted. */
  retryAfterMs: number | undefined;
  /** Its answer's head has been written: nobody may end it any more. */
  hasBegun = false;
  copies = 0;
  #end: (() => void) | undefined;

  constructor({ ticket, attempt }: StartedTicket, shard: number) {
    this.ticket = ticket;
    this.attempt = attempt;
    this.shard = shard;
  }

  get isEvicted(): boolean {
    return this.retryAfterMs !== undefined;
  }

  /** `end` is called when the request is evicted; at once if it has been. */
  onEvicted(end: () => void): void {
    this.#end = end;
    if (this.isEvicted) end();
  }

  evict(retryAfterMs: number): void {
    this.retryAfterMs = retryAfterMs;
    this.#end?.();
  }
}

export class Evictions {
  readonly #options: EvictionsOptions;
  /** As many as requests are carried. */
  readonly #carried = new Map<string, Carried>();
  /** In the order they came, which is that of their ends. */
  readonly #early = new Map<string, EarlyEvict>();

  constructor(options: EvictionsOptions) {
    this.#options = options;
  }

  /** A request has been admitted; `leave` is to follow. */
  enter(of: StartedTicket, shard = 0): Carried {
    const key = keyOf(of);
    const carried = this.#carried.get(key) ?? new Carried(of, shard);
    carried.copies += 1;
    this.#carried.set(key, carried);
    this.#sweep();
    const early = this.#early.get(key);
    if (early !== undefined) carried.evict(early.retryAfterMs);
    return carried;
  }

  leave(carried: Carried): void {
    carried.copies -= 1;
    if (carried.copies === 0) this.#carried.delete(keyOf(carried));
  }

  evict({ ticket, attempt, retryAfterMs }: Omit<Evict, "t">): EvictionOutcome {
    const key = keyOf({ ticket, attempt });
    const carried = this.#carried.get(key);
    if (carried?.hasBegun === true) return "begun";
    if (carried !== undefined) {
      carried.evict(retryAfterMs);
      return "ended";
    }
    if (this.#options.isUsed(ticket, attempt)) return "over";
    this.#sweep();
    this.#early.delete(key);
    const [oldest] = this.#early.keys();
    if (this.#early.size >= EVICTION_LIMITS.earlyMax) this.#early.delete(oldest!);
    const forgetAtMs = this.#options.clock() + EVICTION_LIMITS.earlyMs;
    this.#early.set(key, { retryAfterMs, forgetAtMs });
    return "early";
  }

  /** Requests of a shard whose answers have begun. */
  begun(shard = 0): StartedTicket[] {
    return [...this.#carried.values()].filter((each) => each.hasBegun && each.shard === shard);
  }

  #sweep(): void {
    const nowMs = this.#options.clock();
    for (const [key, { forgetAtMs }] of this.#early) {
      if (forgetAtMs > nowMs) return;
      this.#early.delete(key);
    }
  }
}

function keyOf({ ticket, attempt }: StartedTicket): string {
  return `${attempt} ${ticket}`;
}

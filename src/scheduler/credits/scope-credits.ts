// What one scope's holders have been granted, as its issuer knows it.

/** At most this part of the room is granted to one holder, where there is room for two. */
const HOLDER_SHARE_MAX = 0.5;
/** Sums are made anew this often within a grant's life: until then what has expired still counts. */
const SWEEPS_PER_LIFE = 16;

/** One holder. Its limits are totals since the issuer's start, as in CreditGrant. */
interface Held {
  /** What it is known to have spent. */
  spent: number;
  /** The highest limit that it may still go by, and until when. */
  limit: number;
  endsMs: number;
  /** A lower one that it has been told since, which ends later; -1: none. */
  lowerLimit: number;
  lowerEndsMs: number;
  want: number;
  /** It has spent nothing since it was last granted some. */
  isIdle: boolean;
  seenMs: number;
  /** What the sums hold of it. */
  countedOutstanding: number;
  countedWant: number;
}

export class ScopeCredits {
  readonly #lifeMs: number;
  readonly #held = new Map<string, Held>();
  #outstanding = 0;
  #wanted = 0;
  #sweptMs = -Infinity;
  /** When somebody who wants tokens last got none. */
  #starvedMs = -Infinity;

  /** `lifeMs`: how long a holder may go by a grant at most, by the issuer's clock. */
  constructor(lifeMs: number) {
    this.#lifeMs = lifeMs;
  }

  /** Holders that have asked within a grant's life. */
  get size(): number {
    return this.#held.size;
  }

  has(holder: string): boolean {
    return this.#held.has(holder);
  }

  /** Takes note of what a holder has spent, in all, and of what it wants. Adds it if it is new. */
  note(holder: string, told: { spent: number; want: number }, nowMs: number): void {
    const { spent, want } = told;
    let held = this.#held.get(holder);
    if (held === undefined) {
      held = newHeld(spent);
      this.#held.set(holder, held);
    }
    held.seenMs = nowMs;
    if (spent > held.spent) {
      held.spent = spent;
      held.isIdle = false;
    }
    held.want = want;
  }

  /** The new limit of a holder that `note` has been told of. */
  grant(holder: string, room: number, nowMs: number): number {
    if (nowMs - this.#sweptMs >= this.#lifeMs / SWEEPS_PER_LIFE) this.sweep(nowMs);
    const held = this.#held.get(holder)!;
    this.#count(held, nowMs);
    const free = room - (this.#outstanding - held.countedOutstanding);
    const given = Math.max(0, Math.floor(Math.min(this.#share(held, room, nowMs), free)));
    if (given > 0) held.isIdle = true;
    else if (held.countedOutstanding === 0 && held.want >= 1 && room >= 1) this.#starvedMs = nowMs;
    const limit = held.spent + given;
    keepLimit(held, limit, nowMs, this.#lifeMs);
    this.#count(held, nowMs);
    return limit;
  }

  /** The limit that grants a holder nothing more. */
  spent(holder: string): number {
    return this.#held.get(holder)?.spent ?? 0;
  }

  /** Forgets what has expired. Gives what is outstanding. */
  sweep(nowMs: number): number {
    this.#sweptMs = nowMs;
    this.#outstanding = 0;
    this.#wanted = 0;
    for (const [name, held] of this.#held) {
      held.countedOutstanding = 0;
      held.countedWant = 0;
      if (nowMs - held.seenMs < this.#lifeMs) this.#count(held, nowMs);
      else this.#held.delete(name);
    }
    return this.#outstanding;
  }

  /**
   * What a holder is to have at hand: what it wants, but no more than its part of the room by number or by
   * want, whichever is more. Where others get nothing at all, who has some and spends none gives way.
   */
  #share(held: Held, room: number, nowMs: number): number {
    const keepsSome = held.isIdle && held.countedOutstanding > 0;
    if (keepsSome && nowMs - this.#starvedMs < this.#lifeMs) return 0;
    const byNumber = room / this.#held.size;
    const byWant = this.#wanted > 0 ? (room * held.want) / this.#wanted : 0;
    const share = Math.min(Math.max(byNumber, byWant), room * HOLDER_SHARE_MAX);
    return Math.min(held.want, Math.max(1, share));
  }

  /** Brings the sums up to date with one holder. */
  #count(held: Held, nowMs: number): void {
    const outstanding = outstandingOf(held, nowMs);
    this.#outstanding += outstanding - held.countedOutstanding;
    this.#wanted += held.want - held.countedWant;
    held.countedOutstanding = outstanding;
    held.countedWant = held.want;
  }
}

function newHeld(spent: number): Held {
  return {
    spent,
    limit: 0,
    endsMs: -Infinity,
    lowerLimit: -1,
    lowerEndsMs: -Infinity,
    want: 0,
    isIdle: false,
    seenMs: -Infinity,
    countedOutstanding: 0,
    countedWant: 0,
  };
}

function outstandingOf(held: Held, nowMs: number): number {
  if (nowMs >= held.endsMs) {
    held.limit = held.lowerLimit;
    held.endsMs = held.lowerEndsMs;
    held.lowerLimit = -1;
    held.lowerEndsMs = -Infinity;
  }
  return nowMs < held.endsMs ? Math.max(0, held.limit - held.spent) : 0;
}

/**
 * A lower limit may not have arrived: the higher one counts until it has ended. Of several lower ones the
 * highest is kept, with the end of the last.
 */
function keepLimit(held: Held, limit: number, nowMs: number, lifeMs: number): void {
  const endsMs = nowMs + lifeMs;
  if (limit < held.limit && nowMs < held.endsMs) {
    held.lowerLimit = Math.max(limit, held.lowerLimit);
    held.lowerEndsMs = endsMs;
    return;
  }
  held.limit = limit;
  held.endsMs = endsMs;
  held.lowerLimit = -1;
  held.lowerEndsMs = -Infinity;
}

// What one scope's holders have been granted, as its issuer knows it.

import { HeldLimits } from "./held-limits.ts";

/** At most this part of the room is granted to one holder, where there is room for two. */
const HOLDER_SHARE_MAX = 0.5;
/** Sums are made anew this often within a grant's life: until then what has expired still counts. */
const SWEEPS_PER_LIFE = 16;

/** One holder. Its limits are totals since the issuer's start, as in CreditGrant. */
interface Held {
  /** What it is known to have spent. */
  spent: number;
  readonly limits: HeldLimits;
  want: number;
  /** It has spent nothing since it was last granted some. */
  isIdle: boolean;
  /** Number of the last grant by which it was given nothing, so that others get some. */
  gaveWaySeq: number;
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
  /** Number of the last grant that gave tokens to somebody who had none. */
  #fedSeq = 0;

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

  /**
   * Takes note of what a holder has spent, in all, of what it wants, and of the grant that it goes by, if it says so.
   * Adds it if it is new.
   */
  note(holder: string, told: { spent: number; want: number; taken: number }, nowMs: number): void {
    const { spent, want, taken } = told;
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
    held.limits.taken(taken);
  }

  /** The new limit of a holder that `note` has been told of. `seq`: the grant's number. */
  grant(holder: string, { room, seq }: { room: number; seq: number }, nowMs: number): number {
    if (nowMs - this.#sweptMs >= this.#lifeMs / SWEEPS_PER_LIFE) this.sweep(nowMs);
    const held = this.#held.get(holder)!;
    this.#count(held, nowMs);
    const free = room - (this.#outstanding - held.countedOutstanding);
    const givesWay = this.#givesWay(held, nowMs);
    const share = givesWay ? 0 : this.#share(held, room);
    const given = Math.max(0, Math.floor(Math.min(share, free)));
    if (givesWay) held.gaveWaySeq = seq;
    else if (held.countedOutstanding === 0 && held.want >= 1 && room >= 1) {
      if (given > 0) this.#fedSeq = seq;
      else this.#starvedMs = nowMs;
    }
    if (given > 0) held.isIdle = true;
    const limit = held.spent + given;
    held.limits.add({ seq, limit, endsMs: nowMs + this.#lifeMs });
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
   * want, whichever is more.
   */
  #share(held: Held, room: number): number {
    const byNumber = room / this.#held.size;
    const byWant = this.#wanted > 0 ? (room * held.want) / this.#wanted : 0;
    const share = Math.min(Math.max(byNumber, byWant), room * HOLDER_SHARE_MAX);
    return Math.min(held.want, Math.max(1, share));
  }

  /**
   * Where others get nothing at all, who has some and spends none gives way, until one of them has got some: what
   * it gives back it would have again before they ask.
   */
  #givesWay(held: Held, nowMs: number): boolean {
    if (!held.isIdle || nowMs - this.#starvedMs >= this.#lifeMs) return false;
    return held.countedOutstanding > 0 || held.gaveWaySeq > this.#fedSeq;
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
    limits: new HeldLimits(),
    want: 0,
    isIdle: false,
    gaveWaySeq: 0,
    seenMs: -Infinity,
    countedOutstanding: 0,
    countedWant: 0,
  };
}

function outstandingOf(held: Held, nowMs: number): number {
  return Math.max(0, held.limits.highest(nowMs) - held.spent);
}

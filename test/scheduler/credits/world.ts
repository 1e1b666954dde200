// Holders and an issuer of credits with clocks of their own, and a network between them that loses, delays,
// doubles and reorders.

import { CreditHolder } from "../../../src/scheduler/credits/credit-holder.ts";
import { CreditIssuer } from "../../../src/scheduler/credits/credit-issuer.ts";
import type { CreditAsk, CreditGrant } from "../../../src/scheduler/credits/contracts.ts";

export const SCOPE = "pool/test";
export const TTL_MS = 1_000;

/** A clock that is off, and gains or loses up to 1 %. */
export interface ClockError {
  readonly offsetMs: number;
  readonly rate: number;
}

interface HolderPlace {
  holder: CreditHolder;
  readonly clock: ClockError;
  /** End of the grant that it goes by, and of the one by which it has spent last, in true time. */
  endsTrueMs: number;
  spentEndsTrueMs: number;
}

const NO_GRANT = { endsTrueMs: -Infinity, spentEndsTrueMs: -Infinity };

interface AskMessage {
  readonly at: HolderPlace;
  readonly holder: CreditHolder;
  readonly ask: CreditAsk;
  readonly askedAtMs: number;
}

interface GrantMessage extends AskMessage {
  readonly grant: CreditGrant;
}

/** What the issuer said once, in true time, and as it would be spent by whoever got it at once. */
interface Promised {
  readonly holder: CreditHolder;
  readonly name: string;
  readonly limit: number;
  readonly seq: number;
  readonly endsTrueMs: number;
}

export class World {
  trueMs = 0;
  room: number;
  issuer: CreditIssuer;
  readonly places: HolderPlace[];
  readonly asks: AskMessage[] = [];
  readonly grants: GrantMessage[] = [];
  /** Every grant that was made by the present issuer. */
  readonly promised: Promised[] = [];
  /** The most that each name has told the present issuer, in its epoch. */
  readonly told = new Map<string, number>();
  /** The highest number of a grant that each name has told the present issuer to go by. */
  readonly taken = new Map<string, number>();
  /** Outstanding of issuers before when they ended, and when the last of it expires at the latest. */
  inherited = { tokens: 0, endsTrueMs: 0 };
  readonly #issuerClock: ClockError;
  #starts = 0;

  constructor(room: number, issuerClock: ClockError, holderClocks: readonly ClockError[]) {
    this.room = room;
    this.#issuerClock = issuerClock;
    this.issuer = this.#newIssuer();
    this.places = holderClocks.map((clock) => ({
      clock,
      holder: this.#newHolder(),
      ...NO_GRANT,
    }));
  }

  get issuerMs(): number {
    return at(this.#issuerClock, this.trueMs);
  }

  holderMs(place: HolderPlace): number {
    return at(place.clock, this.trueMs);
  }

  /** `untold`: of what was spent, at most so much is not known to the issuer when it hears this ask. */
  ask(index: number, untold = 0): void {
    const place = this.#place(index);
    const askedAtMs = this.holderMs(place);
    const { holder } = place;
    this.asks.push({ at: place, holder, ask: holder.ask(askedAtMs, untold), askedAtMs });
  }

  /** The message stays: it may come once more. */
  deliverAsk(index: number): CreditGrant | undefined {
    const message = this.asks[index % Math.max(1, this.asks.length)];
    if (message === undefined) return undefined;
    const { ask } = message;
    if (ask.epoch === this.issuer.epoch) {
      this.told.set(ask.holder, Math.max(ask.spent, this.told.get(ask.holder) ?? 0));
      this.taken.set(ask.holder, Math.max(ask.taken ?? 0, this.taken.get(ask.holder) ?? 0));
    }
    const grant = this.issuer.grant(ask, this.room, this.issuerMs);
    this.grants.push({ ...message, grant });
    this.promised.push({
      holder: message.holder,
      name: ask.holder,
      limit: grant.limit,
      seq: grant.seq,
      endsTrueMs: endOf({ ...message, grant }),
    });
    return grant;
  }

  deliverGrant(index: number): void {
    const message = this.grants[index % Math.max(1, this.grants.length)];
    // To a holder that has begun anew, nothing comes.
    if (message === undefined || message.at.holder !== message.holder) return;
    const { at: place, holder, grant, askedAtMs } = message;
    holder.granted(grant, askedAtMs);
    const { epoch, taken } = holder.ask(this.holderMs(place));
    if (epoch !== grant.epoch) Object.assign(place, NO_GRANT);
    else if (taken === grant.seq) place.endsTrueMs = endOf(message);
  }

  /** Ask, answer and its arrival, at once. */
  exchange(index: number): void {
    this.ask(index);
    this.deliverAsk(this.asks.length - 1);
    this.deliverGrant(this.grants.length - 1);
  }

  spend(index: number, tokens: number): boolean {
    const place = this.#place(index);
    const isSpent = place.holder.trySpend(tokens, this.holderMs(place));
    if (isSpent) place.spentEndsTrueMs = place.endsTrueMs;
    return isSpent;
  }

  available(index: number): number {
    const place = this.#place(index);
    return place.holder.available(this.holderMs(place));
  }

  restartHolder(index: number): void {
    Object.assign(this.#place(index), { holder: this.#newHolder(), ...NO_GRANT });
  }

  restartIssuer(): void {
    const left = this.trueMs < this.inherited.endsTrueMs ? this.inherited.tokens : 0;
    this.inherited = {
      tokens: left + this.issuer.outstanding(this.issuerMs),
      endsTrueMs: this.trueMs + TTL_MS * 1.03,
    };
    this.issuer = this.#newIssuer();
    this.promised.length = 0;
    this.told.clear();
    this.taken.clear();
  }

  /** What holders may still spend on the issuer's word, by their own clocks, if they have got it. */
  promisedTo(isCounted: (name: string) => boolean): number {
    const most = new Map<string, number>();
    for (const { name, limit, seq, endsTrueMs } of this.promised) {
      if (!isCounted(name) || this.trueMs >= endsTrueMs) continue;
      // Its holder takes it no more, and has told what it had spent under it.
      if (seq < (this.taken.get(name) ?? 0)) continue;
      const open = limit - (this.told.get(name) ?? 0);
      most.set(name, Math.max(open, most.get(name) ?? 0));
    }
    return [...most.values()].reduce((sum, open) => sum + Math.max(0, open), 0);
  }

  /** What may be spent now, with what was spent by the same and not told yet. */
  letThrough(): { ofIssuer: number; ofEarlier: number } {
    const sums = { ofIssuer: 0, ofEarlier: 0 };
    for (const place of this.places) {
      const nowMs = this.holderMs(place);
      const { holder } = place;
      const available = holder.available(nowMs);
      if (available === 0 && this.trueMs >= place.spentEndsTrueMs) continue;
      if (holder.epoch !== this.issuer.epoch) sums.ofEarlier += available;
      else {
        const name = holder.ask(nowMs).holder;
        sums.ofIssuer += available + holder.spent - (this.told.get(name) ?? 0);
      }
    }
    return sums;
  }

  #place(index: number): HolderPlace {
    return this.places[index % this.places.length]!;
  }

  #newIssuer(): CreditIssuer {
    const epoch = `issuer-${++this.#starts}`;
    return new CreditIssuer({ epoch, startedAtMs: this.issuerMs, ttlMs: TTL_MS, toldWithinMs: 0 });
  }

  #newHolder(): CreditHolder {
    return new CreditHolder({ scope: SCOPE, id: `holder-${++this.#starts}`, wantMin: 5 });
  }
}

/** In true time. */
function endOf({ at: { clock }, askedAtMs, grant }: GrantMessage): number {
  return (askedAtMs + grant.ttlMs - clock.offsetMs) / clock.rate;
}

function at({ offsetMs, rate }: ClockError, trueMs: number): number {
  return offsetMs + trueMs * rate;
}

// What a shard's queue may let through: by credit of the lead, or alone.
//
//   together   the lead answers, and its grant has not ended: as many requests as were granted. When they
//              are used up and somebody waits, it asks at once; but once for each time that they are, and
//              then as often as all do while requests wait, for the pool is full
//   forsaken   the lead is asked all the time and grants nothing, and the last grant has not ended: as many requests
//              under way as there were, or could have been, when it last did. Nobody else can have been granted
//              those for a moment longer than the grant lasts, until those of all others have ended, too. One that had
//              nothing to do and did not ask is not forsaken: what it did not use others have by now
//   waking     it has not heard of the lead lately, or never, or has said its last word since, or has only heard that the lead
//              is another one now, and asks: nothing, until the lead answers or a message to it has failed. The
//              others may have been granted all there is. Who cannot wait in a queue waits for that
//   alone      no grant: as much as if each of the others did what it does itself, that is its share of
//              the pool. Nothing is asked of anybody
//
// Together, waking and forsaken, the pool is over full by no more than the credits outstanding. Alone, no shard takes
// more than its share of what it sees; one that was idle and cannot reach the lead while the others can adds its
// share to theirs, for as long as it is cut off.

import type { CreditAsk, CreditGrant } from "../../scheduler/credits/contracts.ts";
import { CREDIT_TTL_MS } from "../../scheduler/credits/credit-issuer.ts";
import { CreditHolder } from "../../scheduler/credits/credit-holder.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import { SHARD_LEASE_MS } from "./members.ts";
import { TELL_EVERY_MS } from "./shard-exchange.ts";

/** A lead that has been asked for so long without granting does not. */
const FORSAKEN_MS = 3 * TELL_EVERY_MS;

export interface ShardCapacityOptions {
  readonly clock: Clock;
  readonly pool: string;
  /** The object's, and the capacity's in it. */
  readonly epoch: string;
  /** Requests under way here. */
  readonly underWay: () => number;
  /** Somebody waits for credit that only the lead has. */
  readonly ask: () => void;
  /** Somebody waits, and perhaps only because it is not known what has ended elsewhere. */
  readonly press: () => void;
}

export class ShardCapacity {
  readonly #options: ShardCapacityOptions;
  readonly #holder: CreditHolder;
  #endsMs = -Infinity;
  /** Until then others may go by grants of the same lead. */
  #othersEndMs = -Infinity;
  #waiting = 0;
  /** The lead has been told that somebody waits, since credit was used last. */
  #isToldOfWait = false;
  #usedAtMs = -Infinity;
  #grantedAtMs = -Infinity;
  #askedAtMs = -Infinity;
  /** Since when it asks without being granted anything; Infinity where it does not. */
  #askingSinceMs = Infinity;
  /** As it asked last. */
  #isLeaving = false;
  /** When the lead answered last, or a message to it failed. */
  #knownAtMs = -Infinity;
  /** Requests that could have been under way here when the lead granted last. */
  #level = 0;

  constructor(options: ShardCapacityOptions) {
    this.#options = options;
    const { pool, epoch: id } = options;
    this.#holder = new CreditHolder({ scope: `pool/${pool}`, id });
  }

  get isTogether(): boolean {
    return this.#options.clock() < this.#endsMs;
  }

  /** Requests that may be let through now; Infinity where only its share says how many. */
  get available(): number {
    const nowMs = this.#options.clock();
    if (nowMs >= this.#othersEndMs) return this.isWaking ? 0 : Infinity;
    const granted = this.#holder.available(nowMs);
    if (nowMs - this.#askingSinceMs < FORSAKEN_MS || this.#hasFallenSilent(nowMs)) return granted;
    return Math.max(granted, this.#level - this.#options.underWay());
  }

  /** A message to the lead takes TELL_DEADLINE_MS at most: while it has work it always knows. */
  get isWaking(): boolean {
    const nowMs = this.#options.clock();
    return nowMs >= this.#othersEndMs && nowMs - this.#knownAtMs >= SHARD_LEASE_MS;
  }

  isThere(): boolean {
    return this.available >= 1;
  }

  spend(): void {
    this.#usedAtMs = this.#options.clock();
    this.#isToldOfWait = false;
    this.#holder.trySpend(1, this.#usedAtMs);
  }

  wanted(requests: number): void {
    this.#waiting = requests;
    this.#usedAtMs = this.#options.clock();
    if (this.#isToldOfWait || this.isThere()) this.#options.press();
    else this.#options.ask();
  }

  /** `isLeaving`: with the last word before it falls silent, after which the lead keeps nothing for it. */
  ask(isLeaving: boolean): CreditAsk {
    const nowMs = this.#options.clock();
    this.#isLeaving = isLeaving;
    if (isLeaving) {
      this.#knownAtMs = -Infinity;
      this.#isToldOfWait = false;
    }
    const ask = this.#holder.ask(nowMs);
    if (this.#askingSinceMs === Infinity || this.#hasFallenSilent(nowMs))
      this.#askingSinceMs = nowMs;
    this.#askedAtMs = nowMs;
    const waiting = this.#waiting;
    this.#waiting = 0;
    if (waiting > 0) this.#isToldOfWait = true;
    // Nothing at hand where nothing comes: in a full pool another shard could not have it.
    const isUsed = nowMs - this.#usedAtMs < CREDIT_TTL_MS;
    return { ...ask, want: isUsed ? Math.max(ask.want, waiting) : 0 };
  }

  /** The lead is away, as far as can be told. */
  notAnswered(): void {
    this.#heard();
  }

  /** The lead has answered, and may not grant anything. */
  notGranted(): void {
    this.#heard();
    if (this.#grantedAtMs === -Infinity) return;
    this.#grantedAtMs = -Infinity;
    // Others may have been granted something by the lead before, until just now.
    this.#othersEndMs = this.#options.clock() + CREDIT_TTL_MS;
  }

  /** Takes the answer to an ask that was made at `askedAtMs`. */
  granted(grant: CreditGrant, askedAtMs: number): void {
    this.#heard();
    const before = this.#holder.epoch;
    this.#holder.granted(grant, askedAtMs);
    // The first grant of another lead only says that there is one: what it grants is asked for anew, and
    // others have been granted the rest meanwhile.
    if (this.#holder.epoch === "" && before !== "") {
      this.#endsMs = -Infinity;
      this.#othersEndMs = -Infinity;
      this.#knownAtMs = -Infinity;
      this.#options.ask();
    } else if (this.#holder.epoch === grant.epoch)
      this.#keep(Math.max(this.#endsMs, askedAtMs + grant.ttlMs));
  }

  /** What is heard as it leaves is nothing to begin anew by. */
  #heard(): void {
    if (!this.#isLeaving) this.#knownAtMs = this.#options.clock();
  }

  #hasFallenSilent(nowMs: number): boolean {
    return nowMs - this.#askedAtMs >= FORSAKEN_MS;
  }

  #keep(untilMs: number): void {
    const nowMs = this.#options.clock();
    this.#endsMs = untilMs;
    // Where it is cut off, the lead keeps its share for it by then.
    this.#othersEndMs = untilMs + FORSAKEN_MS;
    this.#grantedAtMs = nowMs;
    this.#askingSinceMs = Infinity;
    this.#level = this.#options.underWay() + this.#holder.available(nowMs);
  }
}

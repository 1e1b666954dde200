// The holder's side of credits, for one scope.
//
// A holder has grants of one epoch only. At the first grant of another one it begins anew, under another
// name: what it was granted before is lost, and nothing that it has spent can be reckoned against the wrong
// total.

import type { CreditAsk, CreditGrant } from "./contracts.ts";
import { CREDIT_TTL_MS } from "./credit-issuer.ts";

/** What is asked for, of what was wanted lately, in a time of one grant's half life. */
const WANT_SLACK = 2;

export interface CreditHolderOptions {
  readonly scope: string;
  /** Random at each start. Asks carry it with a number behind it. */
  readonly id: string;
  /** Asked for also when nothing was wanted lately: enough for one request. */
  readonly wantMin?: number;
  readonly wantMax?: number;
}

export class CreditHolder {
  readonly #scope: string;
  readonly #id: string;
  readonly #wantMin: number;
  readonly #wantMax: number;
  #generation = 0;
  #epoch = "";
  #seq = 0;
  #spent = 0;
  #limit = 0;
  #endsMs = -Infinity;
  #ttlMs = CREDIT_TTL_MS;
  #askedMs = -Infinity;
  /** Grants asked for until then were made to the name before. */
  #anewMs = -Infinity;
  /** Tokens wanted lately, decaying; as of `demandAtMs`. */
  #demand = 0;
  #demandAtMs = 0;

  constructor({ scope, id, wantMin = 1, wantMax = Infinity }: CreditHolderOptions) {
    this.#scope = scope;
    this.#id = id;
    this.#wantMin = wantMin;
    this.#wantMax = wantMax;
  }

  /**
   * An ask to be sent now. `untold`: of the tokens spent, those that the issuer will not know of otherwise
   * when it has this ask, as it does by a commit that travels with it or that it has acknowledged. They
   * stay outstanding.
   */
  ask(nowMs: number, untold = 0): CreditAsk {
    this.#askedMs = nowMs;
    return {
      scope: this.#scope,
      holder: `${this.#id}.${this.#generation}`,
      epoch: this.#epoch,
      spent: Math.max(0, this.#spent - untold),
      want: Math.min(this.#wantMax, Math.max(this.#wantMin, this.#want(nowMs))),
      ...(this.#mayForget(untold) ? { taken: this.#seq } : {}),
    };
  }

  /** Takes the answer to an ask that was made at `askedAtMs`. Late and repeated ones do no harm. */
  granted(grant: CreditGrant, askedAtMs: number): void {
    if (grant.scope !== this.#scope || askedAtMs <= this.#anewMs) return;
    if (this.#epoch === "") this.#epoch = grant.epoch;
    if (grant.epoch !== this.#epoch) {
      this.#beginAnew();
      return;
    }
    if (grant.seq <= this.#seq) return;
    this.#seq = grant.seq;
    this.#limit = grant.limit;
    this.#ttlMs = grant.ttlMs;
    this.#endsMs = askedAtMs + grant.ttlMs;
  }

  /** Spends the tokens if they are at hand. What is refused counts as wanted. */
  trySpend(tokens: number, nowMs: number): boolean {
    this.#demand = this.#demandAt(nowMs) + tokens;
    this.#demandAtMs = nowMs;
    if (tokens > this.available(nowMs)) return false;
    this.#spent += tokens;
    return true;
  }

  /** Tokens that may be spent now. */
  available(nowMs: number): number {
    return nowMs < this.#endsMs ? Math.max(0, this.#limit - this.#spent) : 0;
  }

  /** Of the issuer whose grants are in use; "" before the first. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Tokens spent in that epoch, in all. */
  get spent(): number {
    return this.#spent;
  }

  /**
   * Whether the issuer may forget grants before the last. What is untold stays outstanding, and where it is beyond the
   * last limit, an earlier one still says so.
   */
  #mayForget(untold: number): boolean {
    return this.#seq > 0 && (untold === 0 || this.#spent <= this.#limit);
  }

  #beginAnew(): void {
    this.#generation += 1;
    this.#anewMs = this.#askedMs;
    this.#epoch = "";
    this.#seq = 0;
    this.#spent = 0;
    this.#limit = 0;
    this.#endsMs = -Infinity;
  }

  #want(nowMs: number): number {
    return Math.ceil(this.#demandAt(nowMs) * WANT_SLACK);
  }

  /** At a steady rate it is what comes in half a grant's life. */
  #demandAt(nowMs: number): number {
    const elapsedMs = Math.max(0, nowMs - this.#demandAtMs);
    return this.#demand * Math.exp((-2 * elapsedMs) / this.#ttlMs);
  }
}

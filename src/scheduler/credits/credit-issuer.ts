// The issuer's side of credits: grants parts of a room that only it knows.
//
// Nothing is written down. An issuer that begins anew has another epoch, and grants nothing for one life of
// a grant: for so long holders may go by what the one before has granted. A life is the ttl, what clocks
// differ by in it, and the time until what was spent at its very end is known.

import type { CreditAsk, CreditGrant } from "./contracts.ts";
import { ScopeCredits } from "./scope-credits.ts";

/** Holders that an issuer remembers, over all scopes. Others are granted nothing. */
export const CREDIT_HOLDERS_MAX = 16_384;
/** Of a grant, by the holder's clock, unless told otherwise. */
export const CREDIT_TTL_MS = 2_000;
/**
 * What was spent at the very end of a grant is known to the issuer within this time, unless told otherwise:
 * so much longer the grant counts.
 */
export const CREDIT_TOLD_WITHIN_MS = 500;
/**
 * How much longer than its ttl an issuer counts a grant: clocks that each gain or lose 1 % in a second, and
 * a holder's clock that stands still while it computes.
 */
const CLOCKS_DIFFER_MAX = 1 / 32;

export interface CreditIssuerOptions {
  /** Random at each start. */
  readonly epoch: string;
  readonly startedAtMs: number;
  readonly ttlMs?: number;
  /** How soon the issuer knows what has been spent, by whatever way. */
  readonly toldWithinMs?: number;
  readonly holdersMax?: number;
}

export class CreditIssuer {
  readonly epoch: string;
  readonly #ttlMs: number;
  readonly #lifeMs: number;
  readonly #holdersMax: number;
  /** Until then another issuer's grants may be in use. */
  readonly #quietUntilMs: number;
  readonly #scopes = new Map<string, ScopeCredits>();
  #seq = 0;

  constructor(options: CreditIssuerOptions) {
    this.epoch = options.epoch;
    this.#ttlMs = options.ttlMs ?? CREDIT_TTL_MS;
    const toldWithinMs = options.toldWithinMs ?? CREDIT_TOLD_WITHIN_MS;
    this.#lifeMs = this.#ttlMs * (1 + CLOCKS_DIFFER_MAX) + toldWithinMs;
    this.#holdersMax = options.holdersMax ?? CREDIT_HOLDERS_MAX;
    this.#quietUntilMs = options.startedAtMs + this.#lifeMs;
  }

  /**
   * Answers one ask. `room`: tokens that may be let through in the scope beyond what is known to be in use,
   * credit outstanding not yet taken off. What the ask says is spent must be known to the issuer otherwise,
   * as taken out of `room`: a holder keeps what it has not told apart (see CreditHolder.ask).
   */
  grant(ask: CreditAsk, room: number, nowMs: number): CreditGrant {
    this.#seq += 1;
    const limit = this.#limitFor(ask, room, nowMs);
    return { scope: ask.scope, epoch: this.epoch, seq: this.#seq, limit, ttlMs: this.#ttlMs };
  }

  /** Tokens granted, not known to be spent, and not expired: of one scope, or of all. */
  outstanding(nowMs: number, scope?: string): number {
    if (scope !== undefined) return this.#scopes.get(scope)?.sweep(nowMs) ?? 0;
    let sum = 0;
    for (const credits of this.#scopes.values()) sum += credits.sweep(nowMs);
    return sum;
  }

  /** Holders that are remembered, over all scopes. */
  get holders(): number {
    let sum = 0;
    for (const credits of this.#scopes.values()) sum += credits.size;
    return sum;
  }

  #limitFor(ask: CreditAsk, room: number, nowMs: number): number {
    // Of another epoch, or none, it says nothing about ours.
    const isOurs = ask.epoch === this.epoch;
    const spent = isOurs ? tokens(ask.spent) : 0;
    const taken = isOurs ? tokens(ask.taken ?? 0) : 0;
    const credits = this.#scopeOf(ask, nowMs);
    if (credits === undefined) return spent;
    credits.note(ask.holder, { spent, want: tokens(ask.want), taken }, nowMs);
    if (nowMs < this.#quietUntilMs) return credits.spent(ask.holder);
    return credits.grant(ask.holder, { room: tokens(room), seq: this.#seq }, nowMs);
  }

  /** Undefined where there is no place for one more holder. */
  #scopeOf({ scope, holder }: CreditAsk, nowMs: number): ScopeCredits | undefined {
    const known = this.#scopes.get(scope);
    if (known?.has(holder)) return known;
    if (this.holders >= this.#holdersMax) {
      this.#forget(nowMs);
      if (this.holders >= this.#holdersMax) return undefined;
    }
    const credits = this.#scopes.get(scope) ?? new ScopeCredits(this.#lifeMs);
    this.#scopes.set(scope, credits);
    return credits;
  }

  #forget(nowMs: number): void {
    for (const [scope, credits] of this.#scopes) {
      credits.sweep(nowMs);
      if (credits.size === 0) this.#scopes.delete(scope);
    }
  }
}

/** Whatever is no number of tokens is none. */
function tokens(value: number): number {
  return value > 0 && value < Infinity ? value : 0;
}

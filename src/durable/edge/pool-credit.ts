// Credit that isolates have of a pool's object: how many requests they may let through without asking.
//
//   room = what flow control would let through now                            0 while anybody waits
//          ROOM_PER_ENDPOINT_MAX × endpoints, where flow control is off
//
// The object's own picks do not wait for credit that isolates have not spent: together they overshoot by what is
// outstanding at most.

import type { CreditAsk, CreditGrant } from "../../scheduler/credits/contracts.ts";
import { CreditIssuer } from "../../scheduler/credits/credit-issuer.ts";
import type { Clock } from "../../scheduler/support/clock.ts";

/** Where nothing says how many requests an endpoint takes: what isolates may send it before it is heard of. */
export const ROOM_PER_ENDPOINT_MAX = 64;
/** Of a holder's name. */
const HOLDER_CHARS_MAX = 128;
/** All isolates share one room, whatever they call it. */
const SCOPE = "pool";

export interface PoolCreditOptions {
  /** Random at each construction of the object. */
  readonly epoch: string;
  readonly clock: Clock;
  /** In requests, credit outstanding not taken off. */
  readonly room: () => number;
}

export class PoolCredit {
  readonly #options: PoolCreditOptions;
  readonly #issuer: CreditIssuer;

  constructor(options: PoolCreditOptions) {
    this.#options = options;
    const { epoch, clock } = options;
    this.#issuer = new CreditIssuer({ epoch, startedAtMs: clock() });
  }

  /** Requests that isolates may still let through. */
  get outstanding(): number {
    return this.#issuer.outstanding(this.#options.clock(), SCOPE);
  }

  /** Undefined for an ask that is none. */
  grant(ask: CreditAsk): CreditGrant | undefined {
    const { holder, scope } = ask;
    if (typeof holder !== "string" || holder.length > HOLDER_CHARS_MAX) return undefined;
    const { clock, room } = this.#options;
    const granted = this.#issuer.grant({ ...ask, scope: SCOPE }, room(), clock());
    return { ...granted, scope };
  }
}

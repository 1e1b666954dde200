// What a shard's queue may let through: by credit of the lead, or alone.
//
//   together   the lead answers, and its grant has not ended: as many requests as were granted. When they
//              are used up and somebody waits, it asks at once
//   alone      no grant: as much as if each of the others did what it does itself, that is its share of
//              the pool. Nothing is asked of anybody
//
// Together, the pool is over full by no more than the credits outstanding. Alone, no shard takes more than
// its share of what it sees; one that was idle and cannot reach the lead while the others can adds its
// share to theirs, for as long as it is cut off.

import type { CreditAsk, CreditGrant } from "../../scheduler/credits/contracts.ts";
import { CreditHolder } from "../../scheduler/credits/credit-holder.ts";
import type { Clock } from "../../scheduler/support/clock.ts";

export interface ShardCapacityOptions {
  readonly clock: Clock;
  readonly pool: string;
  /** The object's epoch. */
  readonly epoch: string;
  /** Somebody waits for credit that only the lead has. */
  readonly ask: () => void;
}

export class ShardCapacity {
  readonly #options: ShardCapacityOptions;
  readonly #holder: CreditHolder;
  #endsMs = -Infinity;
  #waiting = 0;

  constructor(options: ShardCapacityOptions) {
    this.#options = options;
    const { pool, epoch: id } = options;
    this.#holder = new CreditHolder({ scope: `pool/${pool}`, id });
  }

  get isTogether(): boolean {
    return this.#options.clock() < this.#endsMs;
  }

  /** Requests that may be let through now; Infinity while it is alone, and a share is all there is. */
  get available(): number {
    const nowMs = this.#options.clock();
    return nowMs < this.#endsMs ? this.#holder.available(nowMs) : Infinity;
  }

  isThere(): boolean {
    return this.available >= 1;
  }

  spend(): void {
    this.#holder.trySpend(1, this.#options.clock());
  }

  wanted(requests: number): void {
    this.#waiting = requests;
    if (!this.isThere()) this.#options.ask();
  }

  ask(): CreditAsk {
    const ask = this.#holder.ask(this.#options.clock());
    const waiting = this.#waiting;
    this.#waiting = 0;
    return { ...ask, want: Math.max(ask.want, waiting) };
  }

  /** Takes the answer to an ask that was made at `askedAtMs`. */
  granted(grant: CreditGrant, askedAtMs: number): void {
    const before = this.#holder.epoch;
    this.#holder.granted(grant, askedAtMs);
    // The first grant of another lead only says that there is one: what it grants is asked for anew.
    if (this.#holder.epoch === "" && before !== "") {
      this.#endsMs = -Infinity;
      this.#options.ask();
    } else if (this.#holder.epoch === grant.epoch)
      this.#endsMs = Math.max(this.#endsMs, askedAtMs + grant.ttlMs);
  }
}

// How many times work may be repeated. A token bucket: every request pays a tenth of a retry in, and
// a retry after which an engine may work twice takes a whole one out. While all is well the bucket is
// full, so that every request of an engine that dies can move at once; in an overload it runs dry,
// and retries add at most a tenth to the load.
//
// Source: Envoy's retry budgets (20 % of active requests) and Finagle's RetryBudget (a share of
// requests plus a reserve). The share here is of requests over time, as in Finagle.

/** Requests that pay for one retry. */
export const REQUESTS_PER_RETRY = 10;

export class RetryBudget {
  readonly #sharesMax: number;
  readonly #onDenied: () => void;
  /** In shares of one retry, a whole number so that tenths add up. */
  #shares: number;

  /** `reserve`: retries in a full bucket. `onDenied` is told of every retry that may not happen. */
  constructor(reserve: number, onDenied: () => void) {
    this.#sharesMax = reserve * REQUESTS_PER_RETRY;
    this.#shares = this.#sharesMax;
    this.#onDenied = onDenied;
  }

  /** A request has come. */
  deposit(): void {
    this.#shares = Math.min(this.#sharesMax, this.#shares + 1);
  }

  /** Takes a retry out, if there is one. */
  tryWithdraw(): boolean {
    if (!this.#allows()) return false;
    this.#shares -= REQUESTS_PER_RETRY;
    return true;
  }

  /** Takes one out of both, or of neither. The first that has none is told. */
  tryWithdrawWith(other: RetryBudget): boolean {
    return this.#allows() && other.tryWithdraw() && this.tryWithdraw();
  }

  #allows(): boolean {
    const isThere = this.#shares >= REQUESTS_PER_RETRY;
    if (!isThere) this.#onDenied();
    return isThere;
  }
}

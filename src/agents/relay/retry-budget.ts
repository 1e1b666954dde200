// How many times a relay may repeat work. A token bucket: every request pays a tenth of a retry in,
// and a retry after which an engine may work twice takes a whole one out. While all is well the
// bucket is full, so that every request of an engine that dies can move at once; in an overload it
// runs dry, and retries add at most a tenth to the load.
//
// Source: Envoy's retry budgets (20 % of active requests) and Finagle's RetryBudget (a share of
// requests plus a reserve). The share here is of requests over time, as in Finagle.

export const RETRY_LIMITS = {
  /** Retries in a full bucket; more than one engine carries before its first bytes. */
  reserve: 256,
  /** Requests that pay for one retry. */
  requestsPerRetry: 10,
} as const;

export class RetryBudget {
  readonly #onDenied: () => void;
  /** In shares of one retry, a whole number so that tenths add up. */
  #shares = RETRY_LIMITS.reserve * RETRY_LIMITS.requestsPerRetry;

  /** `onDenied` is told of every retry that may not happen. */
  constructor(onDenied: () => void) {
    this.#onDenied = onDenied;
  }

  /** A request has come. */
  deposit(): void {
    const sharesMax = RETRY_LIMITS.reserve * RETRY_LIMITS.requestsPerRetry;
    this.#shares = Math.min(sharesMax, this.#shares + 1);
  }

  /** Takes a retry out, if there is one. */
  tryWithdraw(): boolean {
    if (this.#shares < RETRY_LIMITS.requestsPerRetry) {
      this.#onDenied();
      return false;
    }
    this.#shares -= RETRY_LIMITS.requestsPerRetry;
    return true;
  }
}

// How many requests a pool ends in a second, lately.
//
//   rate = sum of 2^(-age / HALF_LIFE_MS) over all ends × ln 2 / HALF_LIFE_MS

const HALF_LIFE_MS = 10_000;

export class EndRate {
  #ends = 0;
  #asOfMs = 0;

  ended(nowMs: number): void {
    this.#decay(nowMs);
    this.#ends += 1;
  }

  /** 0 before the first. */
  perSecond(nowMs: number): number {
    this.#decay(nowMs);
    return (this.#ends * Math.LN2 * 1_000) / HALF_LIFE_MS;
  }

  #decay(nowMs: number): void {
    this.#ends *= 2 ** (-Math.max(0, nowMs - this.#asOfMs) / HALF_LIFE_MS);
    this.#asOfMs = Math.max(this.#asOfMs, nowMs);
  }
}

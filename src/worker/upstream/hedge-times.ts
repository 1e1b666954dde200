// When an answer is late, and how many requests may be asked for twice.
//
// An isolate keeps the latest times to the first byte of each pool, streams and whole answers apart, and
// what is waited for longer than a percentile of them is late. The one that was given up for another counts
// with the time it was waited for: without it, what is late would seem to be ever less.
//
// Source: Dean and Barroso, The Tail at Scale (hedged requests after the 95th percentile; a share at most).

/** Times kept of one pool and kind. */
export const HEDGE_SAMPLES_MAX = 512;
/** With fewer, nobody knows what is late. */
export const HEDGE_SAMPLES_MIN = 50;
/** The percentile is computed anew after so many. */
const SAMPLES_PER_RANKING = 32;
/** Pools and kinds remembered. */
export const HEDGE_KEYS_MAX = 512;
/** Hedges that may happen at once. */
export const HEDGE_BURST = 10;

class Times {
  readonly #samplesMs = new Float64Array(HEDGE_SAMPLES_MAX);
  #count = 0;
  #sorted: Float64Array = new Float64Array(0);
  #sortedAtCount = -Infinity;

  add(ms: number): void {
    this.#samplesMs[this.#count % HEDGE_SAMPLES_MAX] = ms;
    this.#count += 1;
  }

  percentileMs(percentile: number): number | undefined {
    if (this.#count < HEDGE_SAMPLES_MIN) return undefined;
    if (this.#count - this.#sortedAtCount >= SAMPLES_PER_RANKING) {
      this.#sorted = this.#samplesMs.slice(0, Math.min(this.#count, HEDGE_SAMPLES_MAX)).sort();
      this.#sortedAtCount = this.#count;
    }
    const { length } = this.#sorted;
    return this.#sorted[Math.min(length - 1, Math.floor(percentile * length))];
  }
}

/** Times from the grant to the first byte, of one isolate. */
export class FirstByteTimes {
  readonly #times = new Map<string, Times>();

  add(pool: string, isStream: boolean, ms: number): void {
    const key = keyOf(pool, isStream);
    let times = this.#times.get(key);
    if (times === undefined) {
      if (this.#times.size >= HEDGE_KEYS_MAX) this.#times.clear();
      times = new Times();
      this.#times.set(key, times);
    }
    times.add(ms);
  }

  /** Undefined while too few are known. */
  percentileMs(pool: string, isStream: boolean, percentile: number): number | undefined {
    return this.#times.get(keyOf(pool, isStream))?.percentileMs(percentile);
  }
}

function keyOf(pool: string, isStream: boolean): string {
  return `${isStream ? "stream" : "whole"} ${pool}`;
}

/** A token bucket: each request pays its share of a hedge in. Empty at first. */
export class HedgeBudget {
  #hedges = 0;

  deposit(share: number): void {
    this.#hedges = Math.min(HEDGE_BURST, this.#hedges + share);
  }

  get hasRoom(): boolean {
    // Sums of shares: twenty twentieths are a little less than one.
    return this.#hedges > 1 - 1e-9;
  }

  tryWithdraw(): boolean {
    if (!this.hasRoom) return false;
    this.#hedges = Math.max(0, this.#hedges - 1);
    return true;
  }
}

// How fast a band is served while something waits in it: what an honest Retry-After rests on.
//
//   rate = requests let through after a wait / time in which something waited       older ones for less
//
// Time in which nothing waited says nothing of how fast the band could be served, so its clock stands
// still then. A band that waits and is not served slows down with every look at it.

/** Of time in which something waited. */
const HALF_LIFE_MS = 10_000;

export const RETRY_AFTER_MS = {
  min: 1_000,
  /** Also where nothing has been let through yet. */
  max: 60_000,
  /** Before a band's rate is known. */
  unknown: 1_000,
  /** Nobody knows when endpoints come back. */
  noEndpoints: 5_000,
} as const;

export class DrainRate {
  #served = 0;
  #busyMs = 0;
  /** Unix ms up to which the two are counted, while something waits. */
  #sinceMs: number | undefined;

  /** Something waits now, or nothing does any more. */
  setWaiting(isWaiting: boolean, nowMs: number): void {
    this.#advance(nowMs);
    this.#sinceMs = isWaiting ? nowMs : undefined;
  }

  /** A request was let through that had waited. */
  served(nowMs: number): void {
    this.#advance(nowMs);
    this.#served += 1;
  }

  /** Requests a second; undefined before anything has waited. */
  perSecond(nowMs: number): number | undefined {
    this.#advance(nowMs);
    return this.#busyMs === 0 ? undefined : (1_000 * this.#served) / this.#busyMs;
  }

  /** Until `ahead` requests have been served. */
  retryAfterMs(ahead: number, nowMs: number): number {
    const rate = this.perSecond(nowMs);
    if (rate === undefined) return RETRY_AFTER_MS.unknown;
    const waitMs = rate === 0 ? Infinity : (1_000 * ahead) / rate;
    return Math.round(Math.min(RETRY_AFTER_MS.max, Math.max(RETRY_AFTER_MS.min, waitMs)));
  }

  #advance(nowMs: number): void {
    if (this.#sinceMs === undefined || nowMs <= this.#sinceMs) return;
    const passedMs = nowMs - this.#sinceMs;
    const kept = 2 ** (-passedMs / HALF_LIFE_MS);
    this.#served *= kept;
    this.#busyMs = this.#busyMs * kept + passedMs;
    this.#sinceMs = nowMs;
  }
}

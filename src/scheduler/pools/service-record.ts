// Since when each pool has been of use, so that one that comes back gets its share by and by, and one that
// comes and goes is left alone for a while.
//
//   admission = 0                                     while it is held back
//             = FLOOR + (1 − FLOOR) · t / slowStartMs   for t ms after that, at most 1
//
//   held back = 0 for a pool that had stayed in use for STAY_MS, and so much longer for each relapse before
//             = HOLD_MS · 2^(relapses − 1), at most HOLD_MS_MAX, for the return of one that had not: a relapse
//
// So a pool is in use at once when it comes back once, and one that flaps comes into use at most seven times
// in any minute, and, if it never stays, twice in each after the first.
//
// An isolate that starts may hear of some pools before others: in its first moments none of them comes back.
//
// Source: Envoy's slow start and ejection times; HAProxy's slowstart.

/** Of its share, right after a return. */
const FLOOR = 0.1;
const STAY_MS = 12_000;
const HOLD_MS = 2_000;
const HOLD_MS_MAX = 30_000;
const RELAPSES_MAX = 16;
const SETTLE_MS = 5_000;

export class ServiceRecord {
  readonly #isIn: Uint8Array;
  /** Until when one that is not in yet may come as if it had been there all along; NaN before the first look. */
  readonly #settlesAtMs: Float64Array;
  readonly #leftAtMs: Float64Array;
  /** Since then it is in use. */
  readonly #heldUntilMs: Float64Array;
  readonly #relapses: Uint8Array;

  constructor(slots: number) {
    this.#isIn = new Uint8Array(slots);
    this.#settlesAtMs = new Float64Array(slots).fill(-Infinity);
    this.#leftAtMs = new Float64Array(slots);
    this.#heldUntilMs = new Float64Array(slots).fill(-Infinity);
    this.#relapses = new Uint8Array(slots);
  }

  /** A pool takes the slot. `isKnown`: everybody is new, so nobody is. */
  begin(slot: number, isKnown: boolean): void {
    this.#isIn[slot] = isKnown ? 1 : 0;
    this.#settlesAtMs[slot] = isKnown ? NaN : -Infinity;
    this.#leftAtMs[slot] = -Infinity;
    this.#heldUntilMs[slot] = -Infinity;
    this.#relapses[slot] = 0;
  }

  /** Says whether the pool can be used as well as others; gives its share of what it would be sent, 0..1. */
  observe(slot: number, isIn: boolean, { nowMs, slowStartMs }: SlowStart): number {
    if (Number.isNaN(this.#settlesAtMs[slot]))
      this.#settlesAtMs[slot] = isIn ? -Infinity : nowMs + SETTLE_MS;
    if (!isIn) {
      if (this.#isIn[slot] === 1) this.#leftAtMs[slot] = nowMs;
      this.#isIn[slot] = 0;
      return 1;
    }
    if (this.#isIn[slot] === 0) this.#returned(slot, nowMs);
    const sinceMs = nowMs - this.#heldUntilMs[slot]!;
    if (sinceMs < 0) return 0;
    return sinceMs >= slowStartMs ? 1 : FLOOR + ((1 - FLOOR) * sinceMs) / slowStartMs;
  }

  /** An operator has taken it out, which says nothing of how it is: it comes back as from a long stay. */
  taken(slot: number): void {
    this.#isIn[slot] = 0;
    this.#leftAtMs[slot] = Infinity;
  }

  #returned(slot: number, nowMs: number): void {
    this.#isIn[slot] = 1;
    if (nowMs < this.#settlesAtMs[slot]!) return;
    const before = this.#relapses[slot]!;
    const stayedMs = this.#leftAtMs[slot]! - this.#heldUntilMs[slot]!;
    // One that has never been in use has not stayed for any time: not a number.
    const isRelapse = stayedMs < STAY_MS * (1 + before);
    const relapses = isRelapse ? Math.min(RELAPSES_MAX, before + 1) : 0;
    const holdMs = relapses === 0 ? 0 : Math.min(HOLD_MS_MAX, HOLD_MS * 2 ** (relapses - 1));
    this.#relapses[slot] = relapses;
    this.#heldUntilMs[slot] = nowMs + holdMs;
  }
}

export interface SlowStart {
  readonly nowMs: number;
  readonly slowStartMs: number;
}

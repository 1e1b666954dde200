// Since when each pool has been of use, so that one that comes back gets its share by and by, and one that
// comes and goes is left alone for a while.
//
//   admission = 0                                     while it is held back
//             = FLOOR + (1 − FLOOR) · t / slowStartMs   for t ms after that, at most 1
//
//   held back = 0 for a return after RELAPSE_MS and more of quiet
//             = HOLD_MS · 2^(relapses − 1), at most HOLD_MS_MAX, for each return that follows sooner
//
// So a pool is in use at once when it comes back once, and one that flaps comes into use at most six times in
// the first minute and twice in each that follows, whatever it does.
//
// Source: Envoy's slow start and ejection times; HAProxy's slowstart.

/** Of its share, right after a return. */
const FLOOR = 0.1;
const RELAPSE_MS = 60_000;
const HOLD_MS = 2_000;
const HOLD_MS_MAX = 30_000;
const RELAPSES_MAX = 16;

export class ServiceRecord {
  readonly #isIn: Uint8Array;
  readonly #returnedAtMs: Float64Array;
  readonly #heldUntilMs: Float64Array;
  readonly #relapses: Uint8Array;

  constructor(slots: number) {
    this.#isIn = new Uint8Array(slots);
    this.#returnedAtMs = new Float64Array(slots).fill(-Infinity);
    this.#heldUntilMs = new Float64Array(slots).fill(-Infinity);
    this.#relapses = new Uint8Array(slots);
  }

  /** A pool takes the slot. `isKnown`: everybody is new, so nobody is. */
  begin(slot: number, isKnown: boolean): void {
    this.#isIn[slot] = isKnown ? 1 : 0;
    this.#returnedAtMs[slot] = -Infinity;
    this.#heldUntilMs[slot] = -Infinity;
    this.#relapses[slot] = 0;
  }

  /** Says whether the pool can be used as well as others; gives its share of what it would be sent, 0..1. */
  observe(slot: number, isIn: boolean, { nowMs, slowStartMs }: SlowStart): number {
    if (!isIn) {
      this.#isIn[slot] = 0;
      return 1;
    }
    if (this.#isIn[slot] === 0) this.#returned(slot, nowMs);
    const sinceMs = nowMs - this.#heldUntilMs[slot]!;
    if (sinceMs < 0) return 0;
    return sinceMs >= slowStartMs ? 1 : FLOOR + ((1 - FLOOR) * sinceMs) / slowStartMs;
  }

  #returned(slot: number, nowMs: number): void {
    const isRelapse = nowMs - this.#returnedAtMs[slot]! <= RELAPSE_MS;
    const relapses = isRelapse ? Math.min(RELAPSES_MAX, this.#relapses[slot]! + 1) : 0;
    const holdMs = relapses === 0 ? 0 : Math.min(HOLD_MS_MAX, HOLD_MS * 2 ** (relapses - 1));
    this.#isIn[slot] = 1;
    this.#relapses[slot] = relapses;
    this.#returnedAtMs[slot] = nowMs;
    this.#heldUntilMs[slot] = nowMs + holdMs;
  }
}

export interface SlowStart {
  readonly nowMs: number;
  readonly slowStartMs: number;
}

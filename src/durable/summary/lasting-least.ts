// The least of what was measured lately: what has not been above something for a while is not.
//
//   half k−1        half k
//   ────────────┬────────────►
//   least, kept │ least so far      the lesser of both: of half of WINDOW_MS to all of it
//
// A pool counts what it has sent to its engines as waiting there until their next sample. With many requests it
// is full by that right before each sample and empty after it, and others that were told so at one moment
// would leave it, all together, until they are told something else at another.

/** Two samples at least. */
const WINDOW_MS = 500;

/** Bounded: two numbers. */
export class LastingLeast {
  #half = -Infinity;
  #before = Infinity;
  #now = Infinity;

  /** Takes a measurement, and gives the least. A first one after a while counts alone. */
  of(value: number, nowMs: number): number {
    const half = Math.floor(nowMs / (WINDOW_MS / 2));
    if (half !== this.#half) {
      this.#before = half === this.#half + 1 ? this.#now : Infinity;
      this.#now = Infinity;
      this.#half = half;
    }
    this.#now = Math.min(this.#now, value);
    return Math.min(this.#before, this.#now);
  }
}

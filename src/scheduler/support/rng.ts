/** A source of uniform numbers in [0, 1). */
export type Rng = () => number;

/**
 * A seeded generator (mulberry32): the same seed gives the same choices, so a recorded decision
 * can be replayed. Period 2^32; fit for breaking ties, not for secrets.
 */
export function createRng(seed: number): Rng {
  const rng = new ReseedableRng();
  rng.reseed(seed);
  return rng.next;
}

/** The same, begun anew as often as one likes without allocation. */
export class ReseedableRng {
  #state = 0;

  reseed(seed: number): void {
    this.#state = seed >>> 0;
  }

  readonly next: Rng = () => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

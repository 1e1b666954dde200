// How many requests an isolate sends in a second: a mean that forgets.

/** A request counts for about so long. */
const WINDOW_MS = 2_000;

export class OwnRate {
  #weight = 0;
  #atMs = 0;

  count(nowMs: number): void {
    this.#fade(nowMs);
    this.#weight += 1;
  }

  perS(nowMs: number): number {
    this.#fade(nowMs);
    return (this.#weight * 1_000) / WINDOW_MS;
  }

  /** Weights halve and halve again; a clock that is set back changes nothing. */
  #fade(nowMs: number): void {
    const passedMs = nowMs - this.#atMs;
    if (passedMs <= 0) return;
    this.#weight *= Math.exp(-passedMs / WINDOW_MS);
    this.#atMs = nowMs;
  }
}

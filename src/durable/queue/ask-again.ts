// When a Worker with a numbered place is to ask again.
//
//   ahead    ├── open calls ──┬──────────── places ─────────────┤
//            0             covered       ahead
//   wait     its turn ◄────── until it is covered ────── now
//
//   after = 0.8 × the time until it is covered × pressure, a quarter more or less
//   pressure = asks a second / ASKS_PER_SECOND_MAX, at least 1
//
// Who comes when it is covered gets an open call in time for its turn, and who is far away asks rarely.
// Before the rate of its band is known, all places are spread evenly over the time in which they may all ask.

export const ASK_AGAIN_MS = {
  min: 250,
  /** Rates change: nobody is left alone for longer on the word of one. */
  ownMax: 30_000,
  /** Before the rate at which its band is served is known; at least. */
  unknown: 1_000,
  max: 600_000,
} as const;
/** Of all places together. An object serves about a thousand calls a second. */
export const ASKS_PER_SECOND_MAX = 300;
const TIMELY = 0.8;
/** Over which asks are counted. */
const HALF_LIFE_MS = 2_000;

/** What is known of a place. */
export interface PlaceOutlook {
  /** What its wait is likely to last; undefined where nobody can tell. */
  readonly waitMs: number | undefined;
  /** Requests likely to be served before. */
  readonly ahead: number;
  /** Of all that wait. */
  readonly placeCount: number;
  /** With no more ahead than this it is likely to get an open call. */
  readonly coveredAhead: number;
}

export class AskAgain {
  #drawn = 0;
  /** Asks a second, older ones for less. */
  #rate = 0;
  #atMs = 0;

  /** A place was asked for. */
  asked(nowMs: number): void {
    this.#decay(nowMs);
    this.#rate += (1_000 * Math.LN2) / HALF_LIFE_MS;
  }

  afterMs({ waitMs, ahead, placeCount, coveredAhead }: PlaceOutlook, nowMs: number): number {
    const { min, ownMax, unknown, max } = ASK_AGAIN_MS;
    this.#decay(nowMs);
    const pressure = Math.max(1, this.#rate / ASKS_PER_SECOND_MAX);
    let afterMs: number;
    if (waitMs === undefined) {
      const meanMs = Math.max(unknown, (1_000 * placeCount) / ASKS_PER_SECOND_MAX);
      afterMs = meanMs * (0.1 + 1.8 * this.fraction());
    } else {
      const uncovered = Math.max(0, ahead - coveredAhead) / (ahead + 1);
      const ownMs = Math.min(ownMax, uncovered === 0 ? 0 : TIMELY * waitMs * uncovered);
      afterMs = Math.max(min, ownMs) * pressure * (0.75 + 0.5 * this.fraction());
    }
    return Math.round(Math.min(max, Math.max(min, afterMs)));
  }

  /** From 0 up to 1, evenly: multiples of the golden ratio without their whole part. */
  fraction(): number {
    this.#drawn += 1;
    return (this.#drawn * 0.618_033_988_749_895) % 1;
  }

  #decay(nowMs: number): void {
    this.#rate *= 2 ** (-Math.max(0, nowMs - this.#atMs) / HALF_LIFE_MS);
    this.#atMs = nowMs;
  }
}

// When a Worker with a numbered place is to ask again.
//
//   own     = half of what its wait is likely to last     who comes early gets another place, and who comes
//                                                         late has kept nobody waiting, but itself
//   least   = places / ASKS_PER_SECOND_MAX                all places together ask no more often than that
//   answer  = max(own, least), a quarter more or less

export const ASK_AGAIN_MS = {
  min: 250,
  /** Of what a place asks for on its own account. */
  ownMax: 10_000,
  /** Before the rate at which its band is served is known. */
  unknown: 1_000,
  max: 60_000,
} as const;
/** Of all places together. An object serves about a thousand calls a second. */
export const ASKS_PER_SECOND_MAX = 300;

export class AskAgain {
  #drawn = 0;

  /** `waitMs`: what its wait is likely to last; undefined where nobody can tell. */
  afterMs(waitMs: number | undefined, placeCount: number): number {
    const { min, ownMax, unknown, max } = ASK_AGAIN_MS;
    const ownMs = Math.min(ownMax, waitMs === undefined ? unknown : waitMs / 2);
    const leastMs = (1_000 * placeCount) / ASKS_PER_SECOND_MAX;
    const spreadMs = Math.max(ownMs, leastMs) * (0.75 + 0.5 * this.fraction());
    return Math.round(Math.min(max, Math.max(min, spreadMs)));
  }

  /** From 0 up to 1, evenly: multiples of the golden ratio without their whole part. */
  fraction(): number {
    this.#drawn += 1;
    return (this.#drawn * 0.618_033_988_749_895) % 1;
  }
}

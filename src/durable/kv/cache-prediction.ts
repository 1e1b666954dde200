// What a decision believed to be cached, as it is kept until the engine reports; prediction.ts compares.

/** Kept with a ticket. Of the endpoint that was to serve it, which was known exactly. */
export interface CachePrediction {
  readonly slot: number;
  /** Content blocks that it was believed to hold. */
  readonly blocks: number;
  readonly totalBlocks: number;
  /** The same in tokens; null for what was just sent there, whose tokens are known when it has been computed. */
  readonly tokens: number | null;
  /** What the approximate index believed. */
  readonly approximateBlocks: number;
  /** Of the endpoint's cache: another one later has forgotten what was held. */
  readonly life: number;
}

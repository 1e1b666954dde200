// How it is told that a hit can end with a block, where holding it is not enough: as a key beside the block's own.
//
//   k             the endpoint holds the block
//   hitEnd(k)     a hit can end with it, or not farther behind it than a content block is long
//   ENDS_MARKED   the endpoint's hits end only where that is told; of others nothing is told, and a hit can
//                 end with any block that it holds
//
// Hybrid models hold windows and states of a prefix besides what they need whole: hit-ends.ts.

const LOW_MASK = 0x5bd1e995;
const HIGH_MASK = 0x27d4eb2f;

/** The key of no content, and of no tokens: any number. */
export const ENDS_MARKED = { low: 0xa3b1_95d7, high: 0x1f83_d9ab } as const;

export function hitEndLow(low: number): number {
  return (low ^ LOW_MASK) >>> 0;
}

export function hitEndHigh(high: number): number {
  return (high ^ HIGH_MASK) >>> 0;
}

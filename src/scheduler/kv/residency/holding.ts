// How an endpoint holds a block, and who is told when that changes.

/** Nowhere in the endpoint. */
export const NOT_HELD = 0;
/** In a memory below its GPUs': host memory or its own disk. */
export const HELD_BELOW = 1;
/** In its GPUs' memory, whether below as well or not. */
export const HELD_ON_GPU = 2;
/** Of content, the least of its token blocks. */
export type Holding = typeof NOT_HELD | typeof HELD_BELOW | typeof HELD_ON_GPU;

/** Gets every change, one at a time. It must not call back into whoever tells it. */
export interface HoldingSink {
  /** The endpoint at `slot` now holds the block of this key so. It held it otherwise before. */
  held(slot: number, low: number, high: number, holding: Holding): void;
}

// How an endpoint holds a block, and who is told when that changes.

/** Nowhere in the endpoint. */
export const NOT_HELD = 0;
/** In a memory below its GPUs': host memory or its own disk. */
export const HELD_BELOW = 1;
/** In its GPUs' memory, whether below as well or not. */
export const HELD_ON_GPU = 2;
/** Of content, the least of its token blocks. */
export type Holding = typeof NOT_HELD | typeof HELD_BELOW | typeof HELD_ON_GPU;

/** How one endpoint holds blocks, as a section of a KV frame says it. */
export interface HeldBlocks {
  /** Two words a key: those on GPUs, then those below, then those that are gone. */
  readonly keys: Uint32Array;
  readonly onGpuCount: number;
  readonly belowCount: number;
  /** By key that is held: where content ends with it, in any unit that is the same for all. */
  readonly ends?: Uint16Array;
}

/** Gets every change, one at a time. It must not call back into whoever tells it. */
export interface HoldingSink {
  /** The endpoint at `slot` now holds the block of this key so. It held it otherwise before. */
  held(slot: number, low: number, high: number, holding: Holding): void;
}

/** Gets where hits can end in caches whose groups need more for that than that a block is held: hit-ends.ts. */
export interface EndingSink {
  /** Hits of the endpoint at `slot` end only where that is told, or again with any block that it holds. */
  endsMarked(slot: number, isMarked: boolean): void;
  /** Whether a hit can end with the block of this key. Every change is told, one at a time. */
  endsHit(slot: number, low: number, high: number, isEnd: boolean): void;
}

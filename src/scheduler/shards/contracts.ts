// How the requests of a pool that has outgrown one object are spread over several: by a block of their
// prompts, but not always the first one, which chat templates give to every request.
//
//   keys of a prompt   k0 ──▶ k1 ──▶ k2 ──▶ k3 …       each names all of the prompt up to it
//   splits             k0 → 2, k2 → 5                  "below k0 look at block 2; below that k2, at block 5"
//   shard              of the last one that is reached and has no split; of the last there is, if fewer
//
// Whoever routes by an older map is served all the same: shards differ in what they know, not in whom they
// may serve.

/** Objects of one pool. Two hex digits of a request id name one. */
export const SHARDS_MAX = 16;
/** Splits of one pool. */
export const SPLITS_MAX = 256;

/** Plain values, which travel in RPC and, as JSON, to agents. */
export interface ShardMap {
  /** 1 for a pool of one object. */
  readonly count: number;
  /** Rises with every change of `splits`. */
  readonly version: number;
  /** At most SPLITS_MAX. */
  readonly splits: readonly Split[];
}

/** `[low, high, block]`: the words of a key, and the number of the block to look at below it, from 0. */
export type Split = readonly [low: number, high: number, block: number];

/** Of a pool of one object. */
export const ONE_SHARD: ShardMap = { count: 1, version: 0, splits: [] };

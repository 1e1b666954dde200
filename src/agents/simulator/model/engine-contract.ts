// What an engine is built from, and what it tells its owner.

import type { BlockHash } from "./block-hash.ts";
import type { BlockKey, KvCacheListener } from "./kv-cache.ts";
import type { Sequence } from "./sequence.ts";
import type { TimingConfig } from "./timing.ts";

export interface EngineConfig {
  readonly blockSize: number;
  readonly blockCount: number;
  /** Sequences that run at once. */
  readonly sequencesMax: number;
  /** Sequences that may wait besides. */
  readonly waitingMax: number;
  /** Tokens computed in one step. At least `sequencesMax`, so that every sequence can decode. */
  readonly batchedTokensMax: number;
  /** Prompt and answer of one sequence. They must fit into the cache. */
  readonly modelLengthMax: number;
  /** Layers that see so many tokens only have a cache of so many blocks besides. Absent: all see everything. */
  readonly slidingWindow?: { readonly tokens: number; readonly blockCount: number };
  /** See KvCache; absent: no. */
  readonly tracksCopies?: boolean;
  /** How long blocks are held for a decoder that does not come; absent: LEASE_MS_DEFAULT. */
  readonly leaseMs?: number;
  readonly timing: TimingConfig;
}

/** vLLM's kv_lease_duration. */
export const LEASE_MS_DEFAULT = 30_000;

/** Told what happens, in order of virtual time. Must not call the engine back. */
export interface EngineListener<Hash extends BlockKey = BlockHash> extends KvCacheListener<Hash> {
  /**
   * The blocks of `sequence` from `first` to `end` were stored in one go: what `stored` told of each,
   * once more together.
   */
  blocksStored?(sequence: Sequence<Hash>, first: number, end: number): void;
  /** The same of the cache of layers that see a window only, where there are any. */
  windowStored?(sequence: Sequence<Hash>, first: number, end: number): void;
  windowRemoved?(hash: Hash): void;
  /**
   * Asked of blocks that are not in the cache: whether they can be read from elsewhere. Reading takes
   * no time. Without it nothing is elsewhere.
   */
  isElsewhere?(hash: Hash): boolean;
  /** The sequence begins to be computed; not told again after a preemption. */
  scheduled(sequence: Sequence<Hash>, atMs: number): void;
  /** Told of the first token of a sequence only. */
  firstToken?(sequence: Sequence<Hash>, atMs: number): void;
  /**
   * Told of every token; `sequence.generatedCount` counts it. Without it the engine is faster, and
   * counts of running sequences are up to date only after `settle`.
   */
  token?(sequence: Sequence<Hash>, atMs: number): void;
  /**
   * After the last token, or where `sequence.failure` says why none came. The sequence's blocks are free,
   * unless it is held.
   */
  finished(sequence: Sequence<Hash>, atMs: number): void;
  preempted(sequence: Sequence<Hash>): void;
  /**
   * A sequence whose prompt was computed elsewhere has blocks for it now; the last `tokenCount` tokens of
   * the prompt are to be read. Whoever is told calls `received` or `notReceived`, later. Without it no
   * sequence may be remote.
   */
  transferBegan?(sequence: Sequence<Hash>, tokenCount: number, atMs: number): void;
  /** Nobody came for the blocks of a sequence that is held; they are free. */
  leaseExpired?(sequence: Sequence<Hash>, atMs: number): void;
  /** A step that computed `tokenCount` tokens has ended. */
  stepped(tokenCount: number): void;
}

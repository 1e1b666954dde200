// One prompt and the answer it is going to get, with how far the engine has come.

import type { BlockHash } from "./block-hash.ts";
import type { BlockKey } from "./kv-cache.ts";
import type { WindowHeld } from "./window-blocks.ts";

/** What an engine must know of a sequence: how long it is, and what its blocks are called. */
export interface SequenceContent<Hash extends BlockKey = BlockHash> {
  /** At least one. */
  readonly promptCount: number;
  /** Tokens of the answer, known beforehand to the simulator only. At least one. */
  readonly outputCount: number;
  /**
   * Hashes of the full blocks of prompt and answer, from the first on: `count` of them or more. Each
   * names its block and everything before it.
   */
  hashes(count: number): ArrayLike<Hash>;
  /** Its prompt's blocks are held when it has ended, for a decoder that reads them. Absent: no. */
  readonly isHeld?: boolean;
  /** Its prompt was computed elsewhere, and is read from there. Absent: no. */
  readonly isRemote?: boolean;
  /** The share of the prompt that must be cached for it to be computed here. Absent: none. */
  readonly cacheHitThreshold?: number;
}

/**
 * Why a sequence ended without an answer: too little of its prompt was cached, or its prompt's blocks
 * could not be read.
 */
export type SequenceFailure = "cache-threshold" | "kv-load";

/** Owned by its Engine, which alone changes it. Times are virtual milliseconds. */
export class Sequence<Hash extends BlockKey = BlockHash> {
  readonly content: SequenceContent<Hash>;
  readonly promptCount: number;
  readonly outputCount: number;
  readonly arrivedAtMs: number;
  /** Blocks in the order of the tokens they hold. */
  blocks: number[] = [];
  /** Where layers see a window only: their blocks. */
  window: WindowHeld | undefined;
  /** Tokens whose keys and values are in `blocks`. */
  computedCount = 0;
  generatedCount = 0;
  /** Prompt tokens found in the cache when the sequence was first scheduled. */
  cachedCount = 0;
  /** Tokens the present run must compute before the next token comes; 0 while decoding. */
  prefillCount = 0;
  firstScheduledAtMs: number | undefined;
  firstTokenAtMs: number | undefined;
  lastTokenAtMs: number | undefined;
  /** Prompt tokens that were read from another engine; they count as cached, too. */
  receivedCount = 0;
  /** Whether its prompt is still to be read from elsewhere. */
  isRemote: boolean;
  failure: SequenceFailure | undefined;
  /** How many of `blocks`, from the first, were given their hash. */
  storedBlockCount = 0;

  constructor(content: SequenceContent<Hash>, arrivedAtMs: number) {
    this.content = content;
    this.promptCount = content.promptCount;
    this.outputCount = content.outputCount;
    this.arrivedAtMs = arrivedAtMs;
    this.isRemote = content.isRemote === true;
  }

  /** Tokens the engine knows: the prompt and what it has generated. */
  get knownCount(): number {
    return this.promptCount + this.generatedCount;
  }

  /** Forgets what was computed, for a sequence that lost its blocks. What it generated stays. */
  restart(): void {
    this.blocks = [];
    this.computedCount = 0;
    this.storedBlockCount = 0;
  }
}

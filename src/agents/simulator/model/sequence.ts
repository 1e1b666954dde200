// One prompt and the answer it is going to get, with how far the engine has come.

import { blockHash, type BlockHash } from "./block-hash.ts";

export interface SequenceRequest {
  /** At least one. */
  readonly promptTokenIds: Uint32Array;
  /** The answer, known beforehand to the simulator only. At least one. */
  readonly outputTokenIds: Uint32Array;
  /** Keeps the blocks of those who do not know it apart. */
  readonly cacheSalt?: string;
}

/** Owned by its Engine, which alone changes it. Times are virtual milliseconds. */
export class Sequence {
  readonly promptCount: number;
  readonly outputCount: number;
  readonly arrivedAtMs: number;
  /** Blocks in the order of the tokens they hold. */
  blocks: number[] = [];
  /** Tokens whose keys and values are in `blocks`. */
  computedCount = 0;
  generatedCount = 0;
  /** Prompt tokens found in the cache when the sequence was first scheduled. */
  cachedCount = 0;
  /** Tokens the present run must compute before the next token comes; 1 while decoding. */
  prefillCount = 0;
  firstScheduledAtMs: number | undefined;
  firstTokenAtMs: number | undefined;
  lastTokenAtMs: number | undefined;
  /** How many of `blocks`, from the first, were given their hash. */
  storedBlockCount = 0;
  readonly #tokenIds: Uint32Array;
  readonly #cacheSalt: string | undefined;
  readonly #hashes: BlockHash[] = [];

  constructor(request: SequenceRequest, arrivedAtMs: number) {
    this.promptCount = request.promptTokenIds.length;
    this.outputCount = request.outputTokenIds.length;
    this.arrivedAtMs = arrivedAtMs;
    this.#cacheSalt = request.cacheSalt;
    this.#tokenIds = new Uint32Array(this.promptCount + this.outputCount);
    this.#tokenIds.set(request.promptTokenIds);
    this.#tokenIds.set(request.outputTokenIds, this.promptCount);
  }

  /** Tokens the engine knows: the prompt and what it has generated. */
  get knownCount(): number {
    return this.promptCount + this.generatedCount;
  }

  /** Hashes of the first `count` full blocks, each computed once. */
  hashes(count: number, root: BlockHash, blockSize: number): readonly BlockHash[] {
    while (this.#hashes.length < count) {
      const i = this.#hashes.length;
      const tokenIds = this.#tokenIds.subarray(i * blockSize, (i + 1) * blockSize);
      const extras = i === 0 && this.#cacheSalt !== undefined ? [this.#cacheSalt] : [];
      this.#hashes.push(blockHash(this.#hashes[i - 1] ?? root, tokenIds, extras));
    }
    return this.#hashes.length === count ? this.#hashes : this.#hashes.slice(0, count);
  }

  /** Forgets what was computed, for a sequence that lost its blocks. What it generated stays. */
  restart(): void {
    this.blocks = [];
    this.computedCount = 0;
    this.storedBlockCount = 0;
  }
}

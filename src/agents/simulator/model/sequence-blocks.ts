// Which blocks a sequence finds, gets, fills and gives back.

import { assert } from "../../../scheduler/support/assert.ts";
import type { EngineListener } from "./engine-contract.ts";
import type { BlockKey, KvCache } from "./kv-cache.ts";
import type { Sequence } from "./sequence.ts";
import type { WindowBlocks } from "./window-blocks.ts";

/** Cached tokens of a sequence, and the blocks of this cache that hold the first of them. */
export interface Found {
  readonly hits: readonly number[];
  readonly count: number;
}

/** The blocks of one engine's sequences. */
export class SequenceBlocks<Hash extends BlockKey> {
  readonly #cache: KvCache<Hash>;
  readonly #blockSize: number;
  readonly #listener: Pick<EngineListener<Hash>, "blocksStored" | "isElsewhere">;
  /** Of the layers that see a window only; undefined where there are none. */
  readonly #windows: WindowBlocks<Hash> | undefined;

  constructor(
    cache: KvCache<Hash>,
    blockSize: number,
    listener: Pick<EngineListener<Hash>, "blocksStored" | "isElsewhere">,
    windows?: WindowBlocks<Hash>,
  ) {
    this.#cache = cache;
    this.#blockSize = blockSize;
    this.#listener = listener;
    this.#windows = windows;
  }

  /** What of a sequence without blocks is cached, here or where it can be read at once. */
  find(sequence: Sequence<Hash>): Found {
    const findable = this.#findableCount(sequence);
    const hashes = sequence.content.hashes(findable);
    const all = this.#cache.match(hashes, findable);
    const hits = this.#windows ? all.slice(0, this.#windows.longestEnd(hashes, all.length)) : all;
    const blocks = hits.length + this.#elsewhereCount(hashes, hits.length, findable);
    return { hits, count: blocks * this.#blockSize };
  }

  /**
   * Whether a sequence that has no blocks yet can begin: with up to `tokensMax` tokens, or with its whole
   * prompt where that is read from elsewhere.
   */
  fits(sequence: Sequence<Hash>, tokensMax: number): boolean {
    const findable = this.#findableCount(sequence);
    const hashes = sequence.content.hashes(findable);
    const { hitCount, freshCountMax } = this.#probe(hashes, findable);
    if (sequence.isRemote) return this.#blocksOf(sequence.promptCount) - hitCount <= freshCountMax;
    const elsewhere = this.#elsewhereCount(hashes, hitCount, findable);
    const computed = (hitCount + elsewhere) * this.#blockSize;
    const tokenCount = Math.min(sequence.knownCount - computed, tokensMax);
    return elsewhere + this.#blocksOf(tokenCount) <= freshCountMax;
  }

  /** Makes room for `tokenCount` more tokens, and stores the blocks they fill. False: there is none. */
  reserve(sequence: Sequence<Hash>, hits: readonly number[], tokenCount: number): boolean {
    const endCount = sequence.computedCount + tokenCount;
    const held = sequence.blocks.length + hits.length;
    const fresh = this.#cache.reserve(hits, Math.max(0, this.#blocksOf(endCount) - held));
    if (fresh === undefined) return false;
    sequence.blocks.push(...hits, ...fresh);
    // As in vLLM, a block can be found from the step on that fills it: whoever finds it is computed
    // in the same step or later.
    sequence.storedBlockCount = Math.max(sequence.storedBlockCount, hits.length);
    this.store(sequence, endCount);
    this.#windows?.reserve(sequence, hits.length, endCount);
    return true;
  }

  /**
   * Makes room for the prompt of a sequence that fits, to be filled from elsewhere. Nothing is stored
   * before it is there.
   */
  reservePrompt(sequence: Sequence<Hash>): void {
    const { hits } = this.find(sequence);
    const count = this.#blocksOf(sequence.promptCount) - hits.length;
    const fresh = this.#cache.reserve(hits, count);
    assert(fresh !== undefined, "what fits can be reserved");
    sequence.blocks = [...hits, ...fresh];
    sequence.storedBlockCount = hits.length;
    sequence.receivedCount = sequence.promptCount - hits.length * this.#blockSize;
  }

  /** Names the blocks that the first `tokenCount` tokens fill and that have no name yet. */
  store(sequence: Sequence<Hash>, tokenCount: number): void {
    const full = Math.floor(tokenCount / this.#blockSize);
    const first = sequence.storedBlockCount;
    if (first < full) {
      const hashes = sequence.content.hashes(full);
      let run = first;
      for (let i = first; i < full; i++) {
        if (this.#cache.store(sequence.blocks[i]!, hashes[i]!)) continue;
        if (run < i) this.#listener.blocksStored?.(sequence, run, i);
        run = i + 1;
      }
      if (run < full) this.#listener.blocksStored?.(sequence, run, full);
    }
    sequence.storedBlockCount = full;
  }

  /** Gives back what a sequence has. What it generated stays. */
  free(sequence: Sequence<Hash>): void {
    this.#cache.release(sequence.blocks);
    this.#windows?.free(sequence);
    sequence.restart();
  }

  #probe(hashes: ArrayLike<Hash>, findable: number): { hitCount: number; freshCountMax: number } {
    const found = this.#cache.probe(hashes, findable);
    if (this.#windows === undefined) return found;
    return this.#cache.probe(hashes, this.#windows.longestEnd(hashes, found.hitCount));
  }

  #blocksOf(tokenCount: number): number {
    return Math.ceil(tokenCount / this.#blockSize);
  }

  /** Blocks that may be found in the cache. */
  #findableCount(sequence: Sequence<Hash>): number {
    // The last token is always computed: its output is what the next token is drawn from.
    return Math.floor((sequence.knownCount - 1) / this.#blockSize);
  }

  /** How many blocks after the first `hitCount` can be read from elsewhere, without a gap. */
  #elsewhereCount(hashes: ArrayLike<Hash>, hitCount: number, findable: number): number {
    if (this.#listener.isElsewhere === undefined) return 0;
    let i = hitCount;
    while (i < findable && this.#listener.isElsewhere(hashes[i]!)) i++;
    return i - hitCount;
  }
}

// The blocks of layers that see a window of tokens only, beside those that see everything: a cache of their own.
//
//   sequence     │ let go of │ window │ being computed │
//   a hit ends   where the blocks of the window before it can be found, or all from the prompt's beginning on
//
// A sequence gives back what its window has left behind before it takes more, so a conversation's window can be
// found at its end, and what it has in common with others only while nobody needs the room. Source: vLLM
// vllm/v1/core/single_type_kv_cache_manager.py, SlidingWindowManager. There all groups share one pool of blocks.

import { assert } from "../../../scheduler/support/assert.ts";
import type { BlockKey, KvCache } from "./kv-cache.ts";
import type { Sequence } from "./sequence.ts";

/** What a sequence has of its window. */
export interface WindowHeld {
  /** Number in the sequence of the first of `blocks`. */
  first: number;
  blocks: number[];
  /** Blocks of the sequence that have their names, or are let go of. */
  storedEnd: number;
}

interface WindowShape {
  /** Tokens that a layer sees, the one at hand included. */
  readonly tokens: number;
  readonly blockSize: number;
}

/** Blocks with which every sequence can go on, whatever the others have. */
export function windowBlocksMin(
  { tokens, blockSize }: WindowShape,
  { sequencesMax, batchedTokensMax }: { sequencesMax: number; batchedTokensMax: number },
): number {
  return (
    sequencesMax * (Math.ceil(tokens / blockSize) + 2) + Math.ceil(batchedTokensMax / blockSize)
  );
}

export class WindowBlocks<Hash extends BlockKey> {
  readonly cache: KvCache<Hash>;
  readonly #shape: WindowShape;
  readonly #needed: number;
  readonly #stored: (sequence: Sequence<Hash>, first: number, end: number) => void;

  /** `stored` is told of the blocks of a sequence that were named in one go. */
  constructor(
    cache: KvCache<Hash>,
    shape: WindowShape,
    stored: (sequence: Sequence<Hash>, first: number, end: number) => void,
  ) {
    this.cache = cache;
    this.#shape = shape;
    this.#needed = Math.max(1, Math.ceil((shape.tokens - 1) / shape.blockSize));
    this.#stored = stored;
  }

  /** How many of the first `count` blocks a hit can have at most. */
  longestEnd(hashes: ArrayLike<Hash>, count: number): number {
    let run = 0;
    for (let i = count - 1; i >= 0; i--) {
      run = this.cache.has(hashes[i]!) ? run + 1 : 0;
      if (run === this.#needed) return i + run;
    }
    return run;
  }

  /** Room for the tokens of a sequence up to `endCount`, of which its first `hitCount` blocks were found. */
  reserve(sequence: Sequence<Hash>, hitCount: number, endCount: number): void {
    const { blockSize, tokens } = this.#shape;
    const seen = Math.max(0, sequence.computedCount - tokens + 1);
    const first = Math.floor(seen / blockSize);
    const held = sequence.window ?? this.#begin(sequence, Math.min(first, hitCount), hitCount);
    sequence.window = held;
    const left = Math.min(Math.max(0, first - held.first), held.blocks.length);
    this.cache.release(held.blocks.splice(0, left));
    held.first = Math.max(first, held.first + left);
    held.storedEnd = Math.max(held.storedEnd, held.first);
    const count = Math.ceil(endCount / blockSize) - held.first - held.blocks.length;
    const fresh = this.cache.reserve([], Math.max(0, count));
    assert(fresh !== undefined, "there are as many blocks as all windows need");
    held.blocks.push(...fresh);
    this.#store(sequence, held, Math.floor(endCount / blockSize));
  }

  /** Gives back what a sequence has. */
  free(sequence: Sequence<Hash>): void {
    if (sequence.window !== undefined) this.cache.release(sequence.window.blocks);
    sequence.window = undefined;
  }

  #begin(sequence: Sequence<Hash>, from: number, hitCount: number): WindowHeld {
    const first = Math.max(from, hitCount - this.#needed);
    const hashes = sequence.content.hashes(hitCount);
    const blocks = Array.from({ length: hitCount - first }, (_, i) => {
      const block = this.cache.match([hashes[first + i]!])[0];
      assert(block !== undefined, "a hit has its window");
      return block;
    });
    this.cache.reserve(blocks, 0);
    return { first, blocks, storedEnd: hitCount };
  }

  #store(sequence: Sequence<Hash>, held: WindowHeld, full: number): void {
    const { first, blocks, storedEnd } = held;
    const hashes = sequence.content.hashes(full);
    let run = storedEnd;
    for (let i = storedEnd; i < full; i++) {
      if (this.cache.store(blocks[i - first]!, hashes[i]!)) continue;
      if (run < i) this.#stored(sequence, run, i);
      run = i + 1;
    }
    if (run < full) this.#stored(sequence, run, full);
    held.storedEnd = Math.max(storedEnd, full);
  }
}

// Token streams without tokens: only how long they are, and which blocks they share.

import { fullBlocks } from "./workload.ts";

/** Gives out names of blocks. One per workload. */
export class BlockNames {
  #next = 0;

  /** The first of `count` names in a row. */
  take(count = 1): number {
    this.#next += count;
    return this.#next - count;
  }
}

/**
 * A growing text. What two streams have in common is what they had when one was forked from the
 * other; a block that either fills later is its own.
 */
export class BlockStream {
  readonly #names: BlockNames;
  readonly #blocks: number[];
  #tokens: number;

  constructor(names: BlockNames, tokens = 0, blocks: number[] = []) {
    this.#names = names;
    this.#tokens = tokens;
    this.#blocks = blocks;
  }

  get tokens(): number {
    return this.#tokens;
  }

  /** Adds `tokens` that no other stream has. Gives itself. */
  append(tokens: number): this {
    this.#tokens += tokens;
    const full = fullBlocks(this.#tokens);
    while (this.#blocks.length < full) this.#blocks.push(this.#names.take());
    return this;
  }

  /** A stream that begins with all of this one. */
  fork(): BlockStream {
    return new BlockStream(this.#names, this.#tokens, [...this.#blocks]);
  }

  /** Names of the full blocks, as they are now. */
  blocks(): Int32Array {
    return Int32Array.from(this.#blocks);
  }
}

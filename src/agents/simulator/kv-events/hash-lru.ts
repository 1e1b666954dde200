// A tier outside the GPU: a bounded set of block hashes that forgets what was longest not touched.

import { assert } from "../../../scheduler/support/assert.ts";
import type { BlockHash } from "../model/block-hash.ts";

export class HashLru {
  readonly #size: number;
  /** Oldest first. */
  readonly #hashes = new Set<BlockHash>();

  /** `size`: hashes it holds at most; at least one. */
  constructor(size: number) {
    assert(size >= 1, "a tier holds a block");
    this.#size = size;
  }

  /** Oldest first. */
  get hashes(): Iterable<BlockHash> {
    return this.#hashes;
  }

  has(hash: BlockHash): boolean {
    return this.#hashes.has(hash);
  }

  /** Makes a hash the youngest, if it is there. */
  touch(hash: BlockHash): boolean {
    if (!this.#hashes.delete(hash)) return false;
    this.#hashes.add(hash);
    return true;
  }

  /** Makes hashes the youngest, and tells which of them came and which others had to leave. */
  put(hashes: readonly BlockHash[]): { added: BlockHash[]; removed: BlockHash[] } {
    const added = new Set<BlockHash>();
    const removed: BlockHash[] = [];
    for (const hash of hashes) {
      if (this.touch(hash)) continue;
      if (this.#hashes.size >= this.#size) {
        const oldest = this.#hashes.values().next().value!;
        this.#hashes.delete(oldest);
        // In a small tier, what came a moment ago may have to leave again.
        if (!added.delete(oldest)) removed.push(oldest);
      }
      this.#hashes.add(hash);
      added.add(hash);
    }
    return { added: [...added], removed };
  }

  clear(): void {
    this.#hashes.clear();
  }
}

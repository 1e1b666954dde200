// What engines' blocks mean to the router: the content key of each block that ends one, and its path.
//
// As collectors do it, without hashes: a name stands for its block and everything before it.

import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import { contentKeys } from "../content-keys.ts";
import { BLOCK_TOKENS, type WorkloadRequest } from "../workload.ts";

const BLOCKS_PER_KEY = CONTENT_BLOCK_TOKENS / BLOCK_TOKENS;
const NAMES_INITIAL = 1 << 20;

/** A content block on the path of some request. */
export interface ContentBlock {
  /** Keys of the path, prompt and answer, at least as far as this block. */
  readonly keys: Uint32Array;
  /** Of the block on the path, from 0. */
  readonly at: number;
  /** Where it belongs by the map of that version, once somebody has reckoned it. */
  shard: number;
  mapVersion: number;
}

export class ContentNames {
  /** By name: index in #blocks + 1, or 0. */
  #indexes = new Int32Array(NAMES_INITIAL);
  readonly #blocks: ContentBlock[] = [];

  /** The request's blocks may be announced from now on. */
  add(request: WorkloadRequest): void {
    const { blocks } = request;
    const keys = contentKeys({ ...request, promptTokens: blocks.length * BLOCK_TOKENS });
    for (let at = keys.length / 2 - 1; at >= 0; at--) {
      const name = blocks[(at + 1) * BLOCKS_PER_KEY - 1]!;
      // Whoever named this one has named those before it.
      if (this.#indexOf(name) > 0) break;
      this.#grow(name);
      this.#indexes[name] = this.#blocks.push({ keys, at, shard: 0, mapVersion: -1 });
    }
  }

  /** Those that end content blocks. */
  find(names: readonly number[]): ContentBlock[] {
    const found: ContentBlock[] = [];
    for (const name of names) {
      const index = this.#indexOf(name);
      if (index > 0) found.push(this.#blocks[index - 1]!);
    }
    return found;
  }

  #indexOf(name: number): number {
    return name < this.#indexes.length ? this.#indexes[name]! : 0;
  }

  #grow(name: number): void {
    if (name < this.#indexes.length) return;
    const grown = new Int32Array(Math.max(name + 1, 2 * this.#indexes.length));
    grown.set(this.#indexes);
    this.#indexes = grown;
  }
}

/** Two words each. */
export function keysOf(blocks: readonly ContentBlock[]): Uint32Array {
  const words = new Uint32Array(2 * blocks.length);
  let word = 0;
  for (const { keys, at } of blocks) {
    words[word++] = keys[2 * at]!;
    words[word++] = keys[2 * at + 1]!;
  }
  return words;
}

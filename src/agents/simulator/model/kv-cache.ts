// The paged KV cache: blocks with reference counts, found again by the hash of their prefix.
//
// A block nobody uses keeps its content and waits in the free list, oldest first; it is evicted
// only when its place is needed:
//
//   in use (references > 0) ──release──► free list tail … free list head ──reserve──► evicted, reused
//            ▲                                │
//            └────────────── reserve(hits) ───┘
//
// A sequence gives its blocks back last block first, so that leaves are evicted before what they
// hang on. Source: vLLM vllm/v1/core/block_pool.py. As there, two sequences that compute the same
// block keep a copy each, and so does a sequence that computes its prompt's last block again to get
// at the next token. In vLLM the others are found when the first copy is evicted; here only if the
// cache is told to keep track of copies, which a simulation of many engines does without.

import { assert } from "../../../scheduler/support/assert.ts";
import type { BlockHash } from "./block-hash.ts";

/** What names a block: a hash, or in a simulation without tokens any number as unique as one. */
export type BlockKey = bigint | number;

/**
 * Told about blocks that become findable and blocks that are evicted, in order. A cache that keeps
 * track of copies tells of each one.
 */
export interface KvCacheListener<Hash extends BlockKey = BlockHash> {
  stored(hash: Hash): void;
  removed(hash: Hash): void;
}

/** Finds blocks by their hash. A Map is one; numbers that are dense have a faster one. */
export interface BlockIndex<Hash extends BlockKey> {
  readonly size: number;
  get(hash: Hash): number | undefined;
  set(hash: Hash, block: number): unknown;
  delete(hash: Hash): unknown;
}

export class KvCache<Hash extends BlockKey = BlockHash> {
  /** Blocks in total. */
  readonly size: number;
  readonly #listener: KvCacheListener<Hash>;
  readonly #references: Int32Array;
  readonly #hashes: (Hash | undefined)[];
  readonly #byHash: BlockIndex<Hash>;
  /** The named blocks that `#byHash` does not lead to, oldest first. Undefined: they are not named. */
  readonly #copies: Map<Hash, number[]> | undefined;
  // The free list is a doubly linked ring through the sentinel at index `size`.
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #freeCount: number;

  /**
   * `index` is empty, and the cache's own from then on. `tracksCopies`: whether a block can still be
   * found when one of several copies is evicted.
   */
  constructor(
    size: number,
    listener: KvCacheListener<Hash>,
    index: BlockIndex<Hash> = new Map<Hash, number>(),
    tracksCopies = false,
  ) {
    this.size = size;
    this.#byHash = index;
    this.#listener = listener;
    this.#copies = tracksCopies ? new Map() : undefined;
    this.#references = new Int32Array(size);
    this.#hashes = Array.from({ length: size }, () => undefined);
    this.#next = Int32Array.from({ length: size + 1 }, (_, i) => (i + 1) % (size + 1));
    this.#previous = Int32Array.from({ length: size + 1 }, (_, i) => (i + size) % (size + 1));
    this.#freeCount = size;
  }

  /** Blocks some sequence uses. */
  get inUseCount(): number {
    return this.size - this.#freeCount;
  }

  /** Blocks a later prompt could find, in use or not. */
  get findableCount(): number {
    return this.#byHash.size;
  }

  /** Whether a block of this content can be found. */
  has(hash: Hash): boolean {
    return this.#byHash.get(hash) !== undefined;
  }

  /** The blocks that hold the longest prefix of the first `count` hashes, without a gap. Changes nothing. */
  match(hashes: ArrayLike<Hash>, count = hashes.length): number[] {
    const blocks: number[] = [];
    for (let i = 0; i < count; i++) {
      const block = this.#byHash.get(hashes[i]!);
      if (block === undefined) break;
      blocks.push(block);
    }
    return blocks;
  }

  /** How many blocks `match` would give, and how many could be reserved besides them. */
  probe(hashes: ArrayLike<Hash>, count: number): { hitCount: number; freshCountMax: number } {
    let hitCount = 0;
    let freshCountMax = this.#freeCount;
    for (; hitCount < count; hitCount++) {
      const block = this.#byHash.get(hashes[hitCount]!);
      if (block === undefined) break;
      if (this.#references[block] === 0) freshCountMax--;
    }
    return { hitCount, freshCountMax };
  }

  /**
   * Takes one more reference on each of `hits` and `freshCount` blocks of unknown content besides,
   * evicting the oldest free ones. Returns the fresh blocks, or undefined, with nothing changed, when
   * there are not enough.
   */
  reserve(hits: readonly number[], freshCount: number): number[] | undefined {
    let available = this.#freeCount;
    for (const block of hits) if (this.#references[block] === 0) available--;
    if (freshCount > available) return undefined;
    for (const block of hits) {
      if (this.#references[block] === 0) this.#unlink(block);
      this.#references[block]! += 1;
    }
    const fresh: number[] = [];
    for (let i = 0; i < freshCount; i++) {
      const block = this.#next[this.size]!;
      assert(block !== this.size, "the free list is as long as its count");
      this.#unlink(block);
      this.#evict(block);
      this.#references[block] = 1;
      fresh.push(block);
    }
    return fresh;
  }

  /** The hashes that could be found, in no order; one of several copies as often as there are. */
  *findable(): Generator<Hash> {
    for (const hash of this.#hashes) if (hash !== undefined) yield hash;
  }

  /**
   * Names the content of a full block in use. False if the block remains as it was: it had its name,
   * or another block has it and copies are not kept track of.
   */
  store(block: number, hash: Hash): boolean {
    assert(this.#references[block]! > 0, "only a block in use is filled");
    if (this.#hashes[block] !== undefined) return false;
    if (this.#byHash.get(hash) === undefined) {
      this.#byHash.set(hash, block);
    } else {
      if (this.#copies === undefined) return false;
      const copies = this.#copies.get(hash);
      if (copies === undefined) this.#copies.set(hash, [block]);
      else copies.push(block);
    }
    this.#hashes[block] = hash;
    this.#listener.stored(hash);
    return true;
  }

  /**
   * Forgets what all blocks hold, without telling the listener of each. False, with nothing changed,
   * while a block is in use.
   */
  clear(): boolean {
    if (this.inUseCount > 0) return false;
    for (let block = 0; block < this.size; block++) {
      const hash = this.#hashes[block];
      if (hash === undefined) continue;
      this.#hashes[block] = undefined;
      this.#byHash.delete(hash);
    }
    this.#copies?.clear();
    return true;
  }

  /** Gives back one reference on each block of a sequence, in the sequence's order. */
  release(blocks: readonly number[]): void {
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i]!;
      assert(this.#references[block]! > 0, "a block is released as often as it was reserved");
      this.#references[block]! -= 1;
      if (this.#references[block] === 0) this.#append(block);
    }
  }

  #evict(block: number): void {
    const hash = this.#hashes[block];
    if (hash === undefined) return;
    this.#hashes[block] = undefined;
    this.#unname(block, hash);
    this.#listener.removed(hash);
  }

  #unname(block: number, hash: Hash): void {
    const copies = this.#copies?.get(hash);
    if (copies === undefined) {
      this.#byHash.delete(hash);
      return;
    }
    if (this.#byHash.get(hash) === block) this.#byHash.set(hash, copies.shift()!);
    else copies.splice(copies.indexOf(block), 1);
    if (copies.length === 0) this.#copies!.delete(hash);
  }

  #unlink(block: number): void {
    const next = this.#next[block]!;
    const previous = this.#previous[block]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#freeCount--;
  }

  #append(block: number): void {
    const tail = this.#previous[this.size]!;
    this.#next[tail] = block;
    this.#previous[block] = tail;
    this.#next[block] = this.size;
    this.#previous[this.size] = block;
    this.#freeCount++;
  }
}

// Finds blocks by names that are numbers, in memory for as many as the cache holds: many engines of a
// long run have too many names for arrays by name. Linear probing; a deletion closes the gap.

import type { BlockIndex } from "../../../src/agents/simulator/model/kv-cache.ts";

const FREE = -1;

export class HashedIndex implements BlockIndex<number> {
  readonly #names: Int32Array;
  readonly #blocks: Int32Array;
  readonly #mask: number;
  #size = 0;

  constructor(blockCount: number) {
    const slots = 2 ** Math.ceil(Math.log2(2 * blockCount + 2));
    this.#names = new Int32Array(slots).fill(FREE);
    this.#blocks = new Int32Array(slots);
    this.#mask = slots - 1;
  }

  get size(): number {
    return this.#size;
  }

  get(name: number): number | undefined {
    const at = this.#find(name);
    return this.#names[at] === name ? this.#blocks[at]! : undefined;
  }

  set(name: number, block: number): void {
    const at = this.#find(name);
    if (this.#names[at] !== name) this.#size++;
    this.#names[at] = name;
    this.#blocks[at] = block;
  }

  delete(name: number): void {
    let free = this.#find(name);
    if (this.#names[free] !== name) return;
    this.#size--;
    // Whoever was kept from its place by what is deleted moves up.
    for (let at = (free + 1) & this.#mask; this.#names[at] !== FREE; at = (at + 1) & this.#mask) {
      const wanted = this.#hash(this.#names[at]!);
      if (((at - wanted) & this.#mask) < ((at - free) & this.#mask)) continue;
      this.#names[free] = this.#names[at]!;
      this.#blocks[free] = this.#blocks[at]!;
      free = at;
    }
    this.#names[free] = FREE;
  }

  /** Where the name is, or the free slot where it belongs. */
  #find(name: number): number {
    let at = this.#hash(name);
    while (this.#names[at] !== FREE && this.#names[at] !== name) at = (at + 1) & this.#mask;
    return at;
  }

  #hash(name: number): number {
    return Math.imul(name ^ (name >>> 15), 0x9e37_79b1) & this.#mask;
  }
}

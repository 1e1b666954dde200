// The adapters of one source, by indexes that fit a byte, and how many held blocks each has.
//
// An index is given on once nothing is held of its adapter and another is needed.

/** Adapters of one source that have blocks at a time; the base model is one. */
export const ADAPTERS_MAX = 255;

export class AdapterIndexes {
  readonly #indexes = new Map<string | null, number>();
  readonly #held = new Uint32Array(ADAPTERS_MAX);
  readonly #free: number[] = [];

  /** Undefined where it has none. */
  find(name: string | null): number | undefined {
    return this.#indexes.get(name);
  }

  /** Undefined where all are taken. */
  add(name: string | null): number | undefined {
    const isRoom = this.#indexes.size < ADAPTERS_MAX;
    const index = this.#free.pop() ?? (isRoom ? this.#indexes.size : undefined);
    if (index !== undefined) this.#indexes.set(name, index);
    return index;
  }

  heldChanged(index: number, by: 1 | -1): void {
    this.#held[index]! += by;
  }

  /** Frees the indexes of adapters of which nothing is held. Gives 1 by index that is free now. */
  freeUnheld(): Uint8Array {
    const freed = new Uint8Array(ADAPTERS_MAX);
    for (const [name, index] of this.#indexes) {
      if (this.#held[index]! > 0) continue;
      this.#indexes.delete(name);
      this.#free.push(index);
      freed[index] = 1;
    }
    return freed;
  }

  /** Nothing is held, and nobody has an index. */
  clear(): void {
    this.#indexes.clear();
    this.#held.fill(0);
    this.#free.length = 0;
  }
}

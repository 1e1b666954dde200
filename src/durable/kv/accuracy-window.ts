// The latest comparisons of one endpoint or one mapping, in a ring.

import type { Comparison } from "./prediction.ts";

/** Comparisons that count. */
export const ACCURACY_WINDOW = 64;

const RIGHT = 1;
const CHARGED = 2;

export class AccuracyWindow {
  readonly #errors = new Float64Array(ACCURACY_WINDOW);
  readonly #flags = new Uint8Array(ACCURACY_WINDOW);
  readonly #slots = new Uint16Array(ACCURACY_WINDOW);
  #next = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === ACCURACY_WINDOW;
  }

  add(slot: number, { errorTokens, verdict, isCharged }: Comparison): void {
    this.#errors[this.#next] = errorTokens;
    this.#flags[this.#next] = (verdict === "right" ? RIGHT : 0) | (isCharged ? CHARGED : 0);
    this.#slots[this.#next] = slot;
    this.#next = (this.#next + 1) % ACCURACY_WINDOW;
    this.#count = Math.min(this.#count + 1, ACCURACY_WINDOW);
  }

  clear(): void {
    this.#next = 0;
    this.#count = 0;
  }

  /** Share of comparisons that were within one block. 1 without any. */
  get rightShare(): number {
    return this.#count === 0 ? 1 : this.#withFlag(RIGHT) / this.#count;
  }

  /** Share that spoke against going by events. */
  get chargedShare(): number {
    return this.#count === 0 ? 0 : this.#withFlag(CHARGED) / this.#count;
  }

  get meanErrorTokens(): number {
    let sum = 0;
    for (let i = 0; i < this.#count; i++) sum += this.#errors[i]!;
    return this.#count === 0 ? 0 : sum / this.#count;
  }

  /** By slot: comparisons, and how many of them were charged. */
  bySlot(): Map<number, { count: number; charged: number }> {
    const slots = new Map<number, { count: number; charged: number }>();
    for (let i = 0; i < this.#count; i++) {
      const sum = slots.get(this.#slots[i]!) ?? { count: 0, charged: 0 };
      sum.count++;
      if ((this.#flags[i]! & CHARGED) !== 0) sum.charged++;
      slots.set(this.#slots[i]!, sum);
    }
    return slots;
  }

  #withFlag(flag: number): number {
    let found = 0;
    for (let i = 0; i < this.#count; i++) if ((this.#flags[i]! & flag) !== 0) found++;
    return found;
  }
}

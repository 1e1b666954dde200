// Why requests with numbered places wait no more, until their Workers ask.

import type { PickRefusal } from "../contract.ts";

/** What is not asked for in time is forgotten; who asks for it then waits anew. */
export class EndedPlaces {
  readonly #max: number;
  /** In the order they ended. */
  readonly #ended = new Map<string, { readonly refusal: PickRefusal; readonly untilMs: number }>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#ended.size;
  }

  add(key: string, refusal: PickRefusal, untilMs: number): void {
    this.#ended.delete(key);
    this.#ended.set(key, { refusal, untilMs });
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > this.#max && oldest !== undefined) this.#ended.delete(oldest);
  }

  take(key: string, nowMs: number): PickRefusal | undefined {
    const ended = this.#ended.get(key);
    this.#ended.delete(key);
    return ended !== undefined && nowMs < ended.untilMs ? ended.refusal : undefined;
  }

  sweep(nowMs: number): void {
    for (const [key, { untilMs }] of this.#ended) if (untilMs <= nowMs) this.#ended.delete(key);
  }
}

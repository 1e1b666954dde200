// no-hit-lru-scorer: spread prompts that nobody has cached over the endpoints that received such a
// prompt least recently, so that caches grow evenly.
//
//   some candidate holds a block of the prompt:  0.5 for all
//   cold prompt, one candidate:                  1
//   cold prompt, n candidates, rank r:           1 - r / (n - 1)
//
// Ranks: endpoints never given a cold prompt first, in slot order, then the others, oldest first.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/nohitlru. It counts prompts and
// not their length: one long cold prompt weighs as much as a short one. What it remembers is lost
// with the object and rebuilt by the next cold prompts. O(n log n) on cold prompts only.

import { z } from "zod";
import { defineScorer, type PickContext, type Scorer } from "../../plugin.ts";

const params = z.strictObject({
  lruSize: z
    .int()
    .min(1)
    .max(1024)
    .default(1024)
    .describe("Endpoints whose last cold prompt is remembered"),
});

/** True when no candidate holds the first block: the prompt is cold for all of them. */
function isCold({ prefix, candidates, candidateCount }: PickContext): boolean {
  if (prefix.totalBlocks === 0) return true;
  for (let i = 0; i < candidateCount; i++) {
    if (prefix.matchedBlocks[candidates[i]!]! > 0) return false;
  }
  return true;
}

class NoHitLruScorer implements Scorer {
  readonly #lruSize: number;
  /** slot -> order of its last cold prompt; a Map keeps insertion order, oldest first. */
  readonly #lastCold = new Map<number, number>();
  #clock = 0;
  #order = new Int32Array(0);

  constructor(lruSize: number) {
    this.#lruSize = lruSize;
  }

  score(context: PickContext, out: Float64Array): void {
    const count = context.candidateCount;
    if (!isCold(context)) {
      out.fill(0.5, 0, count);
      return;
    }
    if (this.#order.length < count) this.#order = new Int32Array(context.candidates.length);
    const order = this.#order.subarray(0, count);
    for (let i = 0; i < count; i++) order[i] = i;
    order.sort((a, b) => this.#age(context, a) - this.#age(context, b) || a - b);
    for (let rank = 0; rank < count; rank++) {
      out[order[rank]!] = count === 1 ? 1 : 1 - rank / (count - 1);
    }
  }

  onPicked(context: PickContext, slot: number): void {
    if (!isCold(context)) return;
    this.#lastCold.delete(slot);
    this.#lastCold.set(slot, ++this.#clock);
    if (this.#lastCold.size > this.#lruSize) {
      const oldest = this.#lastCold.keys().next().value;
      if (oldest !== undefined) this.#lastCold.delete(oldest);
    }
  }

  onEndpointRemoved(slot: number): void {
    this.#lastCold.delete(slot);
  }

  /** 0 for an endpoint never given a cold prompt; grows with the recency of the last one. */
  #age(context: PickContext, candidate: number): number {
    return this.#lastCold.get(context.candidates[candidate]!) ?? 0;
  }
}

export const noHitLruScorer = defineScorer({
  type: "no-hit-lru-scorer",
  params,
  create: ({ lruSize }) => new NoHitLruScorer(lruSize),
});

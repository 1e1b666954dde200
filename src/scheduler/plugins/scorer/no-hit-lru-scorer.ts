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
// with the object and rebuilt by the next cold prompts. O(n), no allocation.

import { z } from "zod";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { defineScorer, type PickContext, type Scorer } from "../../plugin.ts";

const params = z.strictObject({
  lruSize: z
    .int()
    .min(1)
    .max(ENDPOINTS_MAX)
    .default(ENDPOINTS_MAX)
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

/** Both ends of the list of used slots. */
const ENDS = ENDPOINTS_MAX;
/** Neighbour of a slot that is not in the list. */
const UNUSED = -1;

/**
 * Used slots form a list through two arrays, ordered by their last cold prompt:
 *
 *   ENDS -newer-> oldest -newer-> … -newer-> newest -newer-> ENDS
 */
class NoHitLruScorer implements Scorer {
  readonly #lruSize: number;
  readonly #newer = new Int32Array(ENDPOINTS_MAX + 1).fill(UNUSED);
  readonly #older = new Int32Array(ENDPOINTS_MAX + 1).fill(UNUSED);
  #used = 0;
  /** Scratch: by slot, its index among the candidates, or -1. */
  readonly #indexOf = new Int32Array(ENDPOINTS_MAX);

  constructor(lruSize: number) {
    this.#lruSize = lruSize;
    this.#newer[ENDS] = ENDS;
    this.#older[ENDS] = ENDS;
  }

  score(context: PickContext, out: Float64Array): void {
    const { candidates, candidateCount: count } = context;
    if (!isCold(context)) {
      out.fill(0.5, 0, count);
      return;
    }
    const last = Math.max(1, count - 1);
    let rank = 0;
    this.#indexOf.fill(-1);
    for (let i = 0; i < count; i++) {
      const slot = candidates[i]!;
      if (this.#newer[slot] === UNUSED) out[i] = 1 - rank++ / last;
      else this.#indexOf[slot] = i;
    }
    for (let slot = this.#newer[ENDS]!; rank < count; slot = this.#newer[slot]!) {
      const index = this.#indexOf[slot]!;
      if (index >= 0) out[index] = 1 - rank++ / last;
    }
  }

  onPicked(context: PickContext, slot: number): void {
    if (!isCold(context)) return;
    this.#remove(slot);
    const newest = this.#older[ENDS]!;
    this.#link(newest, slot);
    this.#link(slot, ENDS);
    this.#used++;
    if (this.#used > this.#lruSize) this.#remove(this.#newer[ENDS]!);
  }

  onEndpointRemoved(slot: number): void {
    this.#remove(slot);
  }

  #remove(slot: number): void {
    if (this.#newer[slot] === UNUSED) return;
    this.#link(this.#older[slot]!, this.#newer[slot]!);
    this.#newer[slot] = UNUSED;
    this.#older[slot] = UNUSED;
    this.#used--;
  }

  #link(older: number, newer: number): void {
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }
}

export const noHitLruScorer = defineScorer({
  type: "no-hit-lru-scorer",
  params,
  create: ({ lruSize }) => new NoHitLruScorer(lruSize),
});

// Watches one pick at a time and hands what it saw to the ring. On the way of every decision: it only
// copies, into buffers it owns.

import { DECISION_LIMITS, type DecisionFacts } from "./record.ts";
import type { DecisionRing } from "./ring.ts";
import type { SeenDecision } from "./rows.ts";
import { DESTINATIONS_MAX, type PickRecorder } from "../endpoint-picker.ts";
import { SCHEDULER_LIMITS } from "../config/limits.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import type { EndpointDirectory, PickContext } from "../plugin.ts";
import type { ProfileRecorder } from "../profile.ts";

const ROWS_MAX = DECISION_LIMITS.candidatesMax;

/** Writes into `ring`. Holds about 25 kB, and 8 kB a scorer. */
export class DecisionRecorder implements PickRecorder, ProfileRecorder {
  readonly #ring: DecisionRing;
  /** Candidates before any filter, and which filter removed each of them, or -1. */
  readonly #considered = new Int32Array(ENDPOINTS_MAX);
  readonly #removedBy = new Int8Array(ENDPOINTS_MAX);
  /** By index among the scored; filled only when not all candidates can be kept. */
  readonly #totals = new Float64Array(ENDPOINTS_MAX);
  readonly #ranks = new Float64Array(ENDPOINTS_MAX);
  /** Indices into `#considered` of the candidates to keep. */
  readonly #kept = new Int32Array(ROWS_MAX);
  readonly #scoredIndexOf = new Int32Array(ENDPOINTS_MAX);
  readonly #chosenSlots = new Int32Array(DESTINATIONS_MAX);
  #context: PickContext | undefined;
  /** What is handed over; reused. */
  readonly #seen: SeenDecision = {
    candidateCount: 0,
    rowCount: 0,
    slots: new Int32Array(ROWS_MAX),
    removedBy: new Int8Array(ROWS_MAX),
    scoredIndex: new Int32Array(ROWS_MAX),
    filterCount: 0,
    removed: new Int32Array(SCHEDULER_LIMITS.filtersMax),
    scorerCount: 0,
    scores: [],
    chosenCount: 0,
    chosenRows: new Int32Array(DESTINATIONS_MAX),
  };

  constructor(ring: DecisionRing) {
    this.#ring = ring;
  }

  considered(context: PickContext): void {
    const count = context.candidateCount;
    const seen = this.#seen;
    this.#context = context;
    copyInts(context.candidates, this.#considered, count);
    seen.candidateCount = count;
    this.#forgetRun();
  }

  began(): ProfileRecorder {
    this.#forgetRun();
    return this;
  }

  filtered(kept: Int32Array, keptCount: number): void {
    const seen = this.#seen;
    const index = seen.filterCount++;
    let k = 0;
    let removed = 0;
    for (let c = 0; c < seen.candidateCount; c++) {
      if (this.#removedBy[c] !== -1) continue;
      if (k < keptCount && kept[k] === this.#considered[c]) {
        k++;
      } else {
        this.#removedBy[c] = index;
        removed++;
      }
    }
    seen.removed[index] = removed;
  }

  scored(context: PickContext, scores: Float64Array): void {
    const seen = this.#seen;
    const copy = (seen.scores[seen.scorerCount++] ??= new Float64Array(ENDPOINTS_MAX));
    copyFloats(scores, copy, context.candidateCount);
  }

  picked(context: PickContext, totals: Float64Array, slots: Int32Array): void {
    const seen = this.#seen;
    seen.chosenCount = slots.length;
    copyInts(slots, this.#chosenSlots, slots.length);
    if (seen.candidateCount > ROWS_MAX) copyFloats(totals, this.#totals, context.candidateCount);
  }

  /**
   * Keeps what was seen since `considered`. False if that was never called: a pool without endpoints
   * has nothing to explain. Call it before the pool changes: loads are read from its columns now.
   */
  finish(table: EndpointDirectory, facts: DecisionFacts): boolean {
    const context = this.#context;
    this.#context = undefined;
    if (context === undefined) return false;
    const { candidateCount } = this.#seen;
    this.#indexScored(candidateCount);
    if (candidateCount <= ROWS_MAX) this.#keepAll(candidateCount);
    else this.#keepBest(candidateCount);
    this.#describeRows();
    this.#ring.add({ context, seen: this.#seen, facts, table });
    return true;
  }

  #forgetRun(): void {
    const seen = this.#seen;
    this.#removedBy.fill(-1, 0, seen.candidateCount);
    seen.filterCount = 0;
    seen.scorerCount = 0;
    seen.chosenCount = 0;
  }

  /** Filters keep the order, so the scored are the considered that no filter removed. */
  #indexScored(candidateCount: number): void {
    const isScored = this.#seen.chosenCount > 0;
    let scored = 0;
    for (let c = 0; c < candidateCount; c++)
      this.#scoredIndexOf[c] = isScored && this.#removedBy[c] === -1 ? scored++ : -1;
  }

  #keepAll(candidateCount: number): void {
    this.#seen.rowCount = candidateCount;
    for (let c = 0; c < candidateCount; c++) this.#kept[c] = c;
  }

  /** The chosen before all others, the filtered behind them. */
  #keepBest(candidateCount: number): void {
    const ranks = this.#ranks;
    const considered = this.#considered.subarray(0, candidateCount);
    for (let c = 0; c < candidateCount; c++) {
      const index = this.#scoredIndexOf[c]!;
      ranks[c] = index < 0 ? -1 : this.#totals[index]!;
    }
    for (let i = 0; i < this.#seen.chosenCount; i++)
      ranks[considered.indexOf(this.#chosenSlots[i]!)] = Infinity;
    keepLargest(ranks, candidateCount, this.#kept);
    this.#seen.rowCount = ROWS_MAX;
  }

  #describeRows(): void {
    const { rowCount, slots, removedBy, scoredIndex, chosenCount, chosenRows } = this.#seen;
    for (let row = 0; row < rowCount; row++) {
      const c = this.#kept[row]!;
      slots[row] = this.#considered[c]!;
      removedBy[row] = this.#removedBy[c]!;
      scoredIndex[row] = this.#scoredIndexOf[c]!;
    }
    for (let i = 0; i < chosenCount; i++) chosenRows[i] = slots.indexOf(this.#chosenSlots[i]!);
  }
}

// Stand-alone, for a loop over a few numbers is faster than a view and its copy.
function copyInts(from: Int32Array, to: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) to[i] = from[i]!;
}

function copyFloats(from: Float64Array, to: Float64Array, count: number): void {
  for (let i = 0; i < count; i++) to[i] = from[i]!;
}

/**
 * Fills `kept` with the indices of the largest of `ranks[0 .. count)`, which are more than fit, in no
 * order. `kept` is a heap with the smallest rank first, so most candidates cost one comparison.
 */
function keepLargest(ranks: Float64Array, count: number, kept: Int32Array): void {
  for (let c = 0; c < kept.length; c++) kept[c] = c;
  for (let at = kept.length >> 1; at >= 0; at--) siftDown(ranks, kept, at);
  for (let c = kept.length; c < count; c++) {
    if (ranks[c]! <= ranks[kept[0]!]!) continue;
    kept[0] = c;
    siftDown(ranks, kept, 0);
  }
}

function siftDown(ranks: Float64Array, heap: Int32Array, from: number): void {
  const moved = heap[from]!;
  const rank = ranks[moved]!;
  let at = from;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && ranks[heap[child + 1]!]! < ranks[heap[child]!]!) child++;
    if (ranks[heap[child]!]! >= rank) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = moved;
}

// Watches one pick at a time and hands what it saw to whoever keeps it. On the way of every decision: it only
// copies, into buffers it owns.

import { DECISION_LIMITS, type DecisionFacts, STAGE_ROLES } from "./record.ts";
import type { FinishedDecision } from "./segment.ts";
import { keepLargest } from "./keep-largest.ts";
import { copyVerdicts } from "./verdicts.ts";
import {
  NOT_REMOVED,
  NOT_SCREENED,
  NOT_THERE,
  type SeenDecision,
  type SeenRun,
  type SeenTerm,
  SPARED,
} from "./rows.ts";
import { DESTINATIONS_MAX, type PickRecorder } from "../endpoint-picker.ts";
import { SCHEDULER_LIMITS } from "../config/limits.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import {
  type EndpointDirectory,
  type PickContext,
  SCORE_TERMS_MAX,
  type SchedulingStages,
  type ScoreTerms,
} from "../plugin.ts";
import type { ProfileRecorder } from "../profile.ts";

const ROWS_MAX = DECISION_LIMITS.candidatesMax;

function createRun(): SeenRun {
  return {
    profile: "",
    role: 0,
    filterCount: 0,
    removed: new Int32Array(SCHEDULER_LIMITS.filtersMax),
    removedBy: new Int8Array(ENDPOINTS_MAX),
    scorerCount: 0,
    scoredIndex: new Int32Array(ENDPOINTS_MAX),
    scores: [],
    termCount: 0,
    terms: [],
    totals: new Float64Array(ENDPOINTS_MAX),
    chosenCount: 0,
    chosenSlots: new Int32Array(DESTINATIONS_MAX),
    chosenRows: new Int32Array(DESTINATIONS_MAX),
  };
}

function createTerm(): SeenTerm {
  return { scorer: 0, name: "", values: new Float32Array(ENDPOINTS_MAX) };
}

/** Who keeps what a recorder has seen. */
export interface RecordKeeper {
  /** What it is given is valid until it returns. */
  add(decision: FinishedDecision): void;
}

/**
 * The rank of whom a profile's filters removed: before whom a screener refused. Why nobody was left depends on whether any
 * had passed the screeners.
 */
const UNSCORED = -Number.MAX_VALUE;

/** Writes into `keeper`. Holds about 15 kB, for each profile as much, 8 kB a scorer and 4 kB a term. */
export class DecisionRecorder implements PickRecorder, ProfileRecorder {
  readonly #keeper: RecordKeeper;
  /** Candidates before any screener and filter. */
  readonly #considered = new Int32Array(ENDPOINTS_MAX);
  /** By considered; filled only when not all candidates can be kept. */
  readonly #ranks = new Float64Array(ENDPOINTS_MAX);
  #screenerCount = 0;
  #context: PickContext | undefined;
  /** The run that is watched. */
  #run = createRun();
  /** What is handed over; reused. */
  readonly #seen: SeenDecision = {
    candidateCount: 0,
    rowCount: 0,
    slots: new Int32Array(ROWS_MAX),
    kept: new Int32Array(ROWS_MAX),
    screenedBy: new Int8Array(ENDPOINTS_MAX),
    runCount: 0,
    runs: [this.#run],
    verdicts: [],
  };

  constructor(keeper: RecordKeeper) {
    this.#keeper = keeper;
  }

  considered(context: PickContext, spared?: Uint8Array): void {
    const count = context.candidateCount;
    const seen = this.#seen;
    this.#context = context;
    copyInts(context.candidates, this.#considered, count);
    seen.candidateCount = count;
    seen.screenedBy.fill(NOT_SCREENED, 0, count);
    if (spared !== undefined) {
      for (let c = 0; c < count; c++)
        if (spared[context.candidates[c]!] === 1) seen.screenedBy[c] = SPARED;
    }
    seen.runCount = 0;
    seen.verdicts = [];
    this.#screenerCount = 0;
  }

  screened(keep: Uint8Array): void {
    const { candidateCount, screenedBy } = this.#seen;
    const index = this.#screenerCount++;
    for (let c = 0; c < candidateCount; c++)
      if (keep[c] === 0 && screenedBy[c]! < 0) screenedBy[c] = index;
  }

  began(context: PickContext): ProfileRecorder {
    const seen = this.#seen;
    const { candidateCount, screenedBy } = seen;
    const run = (seen.runs[seen.runCount++] ??= createRun());
    this.#run = run;
    run.profile = context.profile;
    run.role = 0;
    run.filterCount = 0;
    run.scorerCount = 0;
    run.termCount = 0;
    run.chosenCount = 0;
    run.removedBy.fill(NOT_REMOVED, 0, candidateCount);
    run.scoredIndex.fill(-1, 0, candidateCount);
    if (this.#screenerCount > 0) {
      for (let c = 0; c < candidateCount; c++)
        if (screenedBy[c]! >= 0) run.removedBy[c] = NOT_THERE;
    }
    return this;
  }

  filtered(kept: Int32Array, keptCount: number): void {
    const { candidateCount } = this.#seen;
    const { removedBy, removed: removedCounts } = this.#run;
    const index = this.#run.filterCount++;
    let k = 0;
    let removed = 0;
    for (let c = 0; c < candidateCount; c++) {
      if (removedBy[c] !== NOT_REMOVED) continue;
      if (k < keptCount && kept[k] === this.#considered[c]) {
        k++;
      } else {
        removedBy[c] = index;
        removed++;
      }
    }
    removedCounts[index] = removed;
    if (k < keptCount) this.#filteredInAnyOrder(kept.subarray(0, keptCount), index);
  }

  scored(context: PickContext, scores: Float64Array, terms?: ScoreTerms): void {
    const run = this.#run;
    const scorer = run.scorerCount++;
    const copy = (run.scores[scorer] ??= new Float64Array(ENDPOINTS_MAX));
    copyFloats(scores, copy, context.candidateCount);
    if (terms === undefined) return;
    const room = DECISION_LIMITS.termsMax - run.termCount;
    const count = Math.min(terms.names.length, SCORE_TERMS_MAX, room);
    for (let t = 0; t < count; t++) {
      const term = (run.terms[run.termCount++] ??= createTerm());
      term.scorer = scorer;
      term.name = terms.names[t]!;
      copyToSingles(terms.values[t]!, term.values, context.candidateCount);
    }
  }

  picked(context: PickContext, totals: Float64Array, slots: Int32Array): void {
    const run = this.#run;
    const { candidateCount } = this.#seen;
    run.chosenCount = slots.length;
    copyInts(slots, run.chosenSlots, slots.length);
    this.#indexScored(context);
    if (candidateCount > ROWS_MAX) copyFloats(totals, run.totals, context.candidateCount);
  }

  staged({ primary, prefill, encode, verdicts }: SchedulingStages): void {
    const { runs, runCount } = this.#seen;
    this.#seen.verdicts = copyVerdicts(verdicts);
    for (let r = 0; r < runCount; r++) {
      const run = runs[r]!;
      if (run.profile === primary) run.role = STAGE_ROLES.indexOf("primary");
      else if (run.profile === prefill) run.role = STAGE_ROLES.indexOf("prefill");
      else if (run.profile === encode) run.role = STAGE_ROLES.indexOf("encode");
    }
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
    if (candidateCount <= ROWS_MAX) this.#keepAll(candidateCount);
    else this.#keepBest(candidateCount);
    this.#describeRows();
    this.#keeper.add({ context, seen: this.#seen, facts, table });
    return true;
  }

  /** After the one filter that may change the order. */
  #filteredInAnyOrder(kept: Int32Array, index: number): void {
    const { removedBy, removed } = this.#run;
    removed[index] = 0;
    for (let c = 0; c < this.#seen.candidateCount; c++) {
      if (removedBy[c] !== NOT_REMOVED && removedBy[c] !== index) continue;
      const isKept = kept.includes(this.#considered[c]!);
      removedBy[c] = isKept ? NOT_REMOVED : index;
      if (!isKept) removed[index]! += 1;
    }
  }

  /** As a rule the scored are the considered that no filter removed and that were not spared, in their order. */
  #indexScored({ candidates, candidateCount }: PickContext): void {
    const { removedBy, scoredIndex } = this.#run;
    const considered = this.#considered;
    let scored = 0;
    for (let c = 0; c < this.#seen.candidateCount && scored < candidateCount; c++) {
      if (removedBy[c] === NOT_REMOVED && candidates[scored] === considered[c])
        scoredIndex[c] = scored++;
    }
    if (scored === candidateCount) return;
    const inAnyOrder = candidates.subarray(0, candidateCount);
    for (let c = 0; c < this.#seen.candidateCount; c++)
      if (removedBy[c] === NOT_REMOVED) scoredIndex[c] = inAnyOrder.indexOf(considered[c]!);
  }

  #keepAll(candidateCount: number): void {
    const { kept } = this.#seen;
    this.#seen.rowCount = candidateCount;
    for (let c = 0; c < candidateCount; c++) kept[c] = c;
  }

  /** The chosen before all others, then who was least behind the best of a profile; the screened come last. */
  #keepBest(candidateCount: number): void {
    const { runs, runCount, kept, screenedBy } = this.#seen;
    const ranks = this.#ranks.fill(UNSCORED, 0, candidateCount);
    if (this.#screenerCount > 0) {
      for (let c = 0; c < candidateCount; c++) if (screenedBy[c]! >= 0) ranks[c] = -Infinity;
    }
    const considered = this.#considered.subarray(0, candidateCount);
    for (let r = 0; r < runCount; r++) rankByTotals(runs[r]!, ranks, candidateCount);
    for (let r = 0; r < runCount; r++) {
      const { chosenCount, chosenSlots } = runs[r]!;
      for (let i = 0; i < chosenCount; i++) ranks[considered.indexOf(chosenSlots[i]!)] = Infinity;
    }
    keepLargest(ranks, candidateCount, kept);
    this.#seen.rowCount = ROWS_MAX;
  }

  #describeRows(): void {
    const { rowCount, slots, kept, runs, runCount } = this.#seen;
    for (let row = 0; row < rowCount; row++) slots[row] = this.#considered[kept[row]!]!;
    for (let r = 0; r < runCount; r++) {
      const { chosenCount, chosenSlots, chosenRows } = runs[r]!;
      for (let i = 0; i < chosenCount; i++) chosenRows[i] = slots.indexOf(chosenSlots[i]!);
    }
  }
}

/** Raises each rank to how far behind the run's best total the candidate is. */
function rankByTotals({ scoredIndex, totals }: SeenRun, ranks: Float64Array, count: number): void {
  let best = -Infinity;
  for (let c = 0; c < count; c++) {
    const index = scoredIndex[c]!;
    if (index >= 0 && totals[index]! > best) best = totals[index]!;
  }
  for (let c = 0; c < count; c++) {
    const index = scoredIndex[c]!;
    if (index >= 0) ranks[c] = Math.max(ranks[c]!, totals[index]! - best);
  }
}

// Stand-alone, for a loop over a few numbers is faster than a view and its copy.
function copyInts(from: Int32Array, to: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) to[i] = from[i]!;
}

function copyFloats(from: Float64Array, to: Float64Array, count: number): void {
  for (let i = 0; i < count; i++) to[i] = from[i]!;
}

function copyToSingles(from: Float64Array, to: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) to[i] = from[i]!;
}

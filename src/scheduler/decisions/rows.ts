// What was seen of a pick, and how its rows are gathered from the pool's columns.

import type { SeenVerdict } from "./verdicts.ts";

/** What a DecisionRecorder saw of one profile. By considered: by index in the pick's candidates. */
export interface SeenRun {
  profile: string;
  /** Index in STAGE_ROLES. */
  role: number;
  filterCount: number;
  /** By filter. */
  readonly removed: Int32Array;
  /** By considered: the filter that removed it, NOT_REMOVED, or NOT_THERE. */
  readonly removedBy: Int8Array;
  scorerCount: number;
  /** By considered: its index in every array of `scores` and `terms`, or -1. */
  readonly scoredIndex: Int32Array;
  readonly scores: Float64Array[];
  termCount: number;
  readonly terms: SeenTerm[];
  /** As `scores`; only filled where not all candidates can be kept. */
  readonly totals: Float64Array;
  chosenCount: number;
  readonly chosenSlots: Int32Array;
  readonly chosenRows: Int32Array;
}

/** A part of a scorer's scores. */
export interface SeenTerm {
  /** Index in the run's scorers. */
  scorer: number;
  name: string;
  readonly values: Float32Array;
}

export const NOT_REMOVED = -1;
/** A screener had refused it before the profile ran. */
export const NOT_THERE = -2;
/** In `screenedBy`: no screener has refused it. */
export const NOT_SCREENED = -1;
/** The same, and it was to be spared; see PickInput. */
export const SPARED = -2;

/** What a DecisionRecorder saw of one pick. Its buffers are reused for the next. */
export interface SeenDecision {
  candidateCount: number;
  /** Rows are the candidates to keep. */
  rowCount: number;
  readonly slots: Int32Array;
  /** By row: its index among the considered. */
  readonly kept: Int32Array;
  /** By considered: the screener that refused it, NOT_SCREENED, or SPARED. */
  readonly screenedBy: Int8Array;
  runCount: number;
  readonly runs: SeenRun[];
  verdicts: readonly SeenVerdict[];
}

// Stand-alone, each for one kind of array, so that their loops are compiled once and tightly.

/** Writes the column's value of each row into `out` from `at`; returns the place behind. */
export function gatherInts(
  column: Int32Array,
  seen: SeenDecision,
  out: Int32Array,
  at: number,
): number {
  const { rowCount, slots } = seen;
  for (let row = 0; row < rowCount; row++) out[at + row] = column[slots[row]!]!;
  return at + rowCount;
}

export function gatherFloats(
  column: Float64Array | Int32Array,
  seen: SeenDecision,
  out: Float64Array,
  at: number,
): number {
  const { rowCount, slots } = seen;
  for (let row = 0; row < rowCount; row++) out[at + row] = column[slots[row]!]!;
  return at + rowCount;
}

/** What is known by considered. */
export function gatherBytes(
  values: Int8Array,
  seen: SeenDecision,
  out: Int32Array,
  at: number,
): number {
  const { rowCount, kept } = seen;
  for (let row = 0; row < rowCount; row++) out[at + row] = values[kept[row]!]!;
  return at + rowCount;
}

/** Where scored values go, and whose they are. */
export interface ScoredRows<Out> {
  readonly seen: SeenDecision;
  readonly run: SeenRun;
  readonly out: Out;
}

/** NaN where a row was not scored. */
export function gatherScores(
  scores: Float64Array,
  { seen, run, out }: ScoredRows<Float64Array>,
  at: number,
): number {
  const { rowCount, kept } = seen;
  const { scoredIndex } = run;
  for (let row = 0; row < rowCount; row++) {
    const index = scoredIndex[kept[row]!]!;
    out[at + row] = index < 0 ? Number.NaN : scores[index]!;
  }
  return at + rowCount;
}

export function gatherTerms(
  values: Float32Array,
  { seen, run, out }: ScoredRows<Float32Array>,
  at: number,
): number {
  const { rowCount, kept } = seen;
  const { scoredIndex } = run;
  for (let row = 0; row < rowCount; row++) {
    const index = scoredIndex[kept[row]!]!;
    out[at + row] = index < 0 ? Number.NaN : values[index]!;
  }
  return at + rowCount;
}

// The form of a packed record.
//
//   record  = floats ints runs float-rows int-rows tail          in words of 8 bytes
//   floats  = FLOAT_FIELDS                       NaN for what is not known
//   ints    = INT_FIELDS                         texts and endpoints as indices of the segment
//   runs    = RUN_FIELDS of each profile that ran
//   float-rows = one stretch of rowCount a float64 column, weighted blocks if isTiered,
//                then one a scorer of each run (NaN: not scored)
//   int-rows   = one stretch of rowCount each: int32 columns, slot, endpoint, matched, screened by or spared,
//                adapters if hasAdapters, then of each run: removed by, and one float32 a term
//   tail    = of each run: removed[filterCount] (scorer name)[termCount] chosen[chosenCount];
//             verdicts[verdictCount] (verdicts.ts) excluded[excludedCount] keys[2 × keyCount]

import { SCHEDULER_LIMITS } from "../config/limits.ts";
import { COLUMN_NAMES, DECISION_LIMITS, RECORDED_COLUMNS } from "./record.ts";
import { DESTINATIONS_MAX } from "../endpoint-picker.ts";
import type { SeenRun } from "./rows.ts";
import { VERDICT_INTS_MAX } from "./verdicts.ts";

export const FLOAT_FIELDS = [
  "atMs",
  "staleAfterMs",
  "seed",
  "configVersion",
  "priority",
  "promptTokens",
  "outputTokensMax",
  "bodyBytes",
  "ttftSloMs",
  "tpotSloMs",
  "queueWaitedMs",
  "queueSaturation",
  "resultTtftMs",
  "resultPromptTokens",
  "resultCachedTokens",
  "resultCompletionTokens",
  "resultPredictedTokens",
  "resultPrefillMs",
] as const;
export const INT_FIELDS = [
  "attempt",
  "totalBlocks",
  "keyCount",
  "keyStride",
  "candidateCount",
  "rowCount",
  "runCount",
  "excludedCount",
  "isTiered",
  "hasAdapters",
  "model",
  "tenant",
  "dropReason",
  "dropDetail",
  "shadowEndpoint",
  "shadowReason",
  "queuePriority",
  "queueFairnessId",
  "verdictCount",
  "kvSource",
  "resultPrefillOutcome",
  "resultPrefillEndpoint",
  "resultPrefillFlags",
  "resultPrefillFailed",
  "resultOutcome",
  "resultEndpoint",
] as const;
export const RUN_FIELDS = [
  "profile",
  "role",
  "filterCount",
  "scorerCount",
  "termCount",
  "chosenCount",
] as const;

/** Stretches of a record's rows. */
export const FLOAT_COLUMNS = COLUMN_NAMES.filter((name) => RECORDED_COLUMNS[name] === "float64");
export const INT_COLUMNS = COLUMN_NAMES.filter((name) => RECORDED_COLUMNS[name] === "int32");
/** Slot, endpoint, matched blocks, screened by: behind the int32 columns. */
export const PLAIN_ROW_INTS = 4;
const ROW_INTS = INT_COLUMNS.length + PLAIN_ROW_INTS;

export const FLOATS = FLOAT_FIELDS.length;
const INTS = INT_FIELDS.length;
export const HEADER_WORDS = FLOATS + INTS / 2;
export const RUN_WORDS = RUN_FIELDS.length / 2;
/** Index of a text or endpoint that is not there. */
export const NOTHING = -1;

/** In resultPrefillFlags. */
export const DECODE_ONLY = 1;
export const STRANDED = 2;

/** What of a decision its length depends on. */
export interface RecordShape {
  readonly rowCount: number;
  readonly runCount: number;
  readonly scorerCount: number;
  readonly termCount: number;
  /** 1 or 0. */
  readonly isTiered: number;
  readonly hasAdapters: number;
  readonly tailInts: number;
}

/** Length of a record. */
export function recordWords(shape: RecordShape): number {
  const { rowCount, runCount, scorerCount, termCount, tailInts } = shape;
  const floats = (FLOAT_COLUMNS.length + shape.isTiered + scorerCount) * rowCount;
  const ints = (ROW_INTS + shape.hasAdapters + runCount + termCount) * rowCount;
  return HEADER_WORDS + RUN_WORDS * runCount + floats + Math.ceil((ints + tailInts) / 2);
}

/** The longest record: a segment must hold it. */
export const RECORD_BYTES_MAX =
  8 *
  recordWords({
    rowCount: DECISION_LIMITS.candidatesMax,
    runCount: SCHEDULER_LIMITS.profilesMax,
    scorerCount: DECISION_LIMITS.scoresMax,
    termCount: DECISION_LIMITS.termsMax,
    isTiered: 1,
    hasAdapters: 1,
    tailInts:
      SCHEDULER_LIMITS.profilesMax * (SCHEDULER_LIMITS.filtersMax + DESTINATIONS_MAX) +
      2 * DECISION_LIMITS.termsMax +
      VERDICT_INTS_MAX +
      DECISION_LIMITS.excludedMax +
      2 * DECISION_LIMITS.keysMax,
  });

/** What is kept of a run. */
export interface KeptRun {
  readonly run: SeenRun;
  readonly scorerCount: number;
  readonly termCount: number;
}

/** As many scores and terms as a record has room for, those of the first runs first. */
export function keepRuns(runs: readonly SeenRun[], runCount: number): KeptRun[] {
  let scores: number = DECISION_LIMITS.scoresMax;
  let terms: number = DECISION_LIMITS.termsMax;
  const kept: KeptRun[] = [];
  for (let r = 0; r < runCount; r++) {
    const run = runs[r]!;
    const scorerCount = run.scorerCount <= scores ? run.scorerCount : 0;
    const termCount = scorerCount > 0 && run.termCount <= terms ? run.termCount : 0;
    scores -= scorerCount;
    terms -= termCount;
    kept.push({ run, scorerCount, termCount });
  }
  return kept;
}

/**
 * The smallest power of two that keeps few enough keys: then two requests keep the keys of the same
 * blocks, up to the larger of their strides, and a prefix they share shows.
 */
export function keyStrideOf(totalBlocks: number): number {
  let stride = 1;
  while (Math.ceil(totalBlocks / stride) > DECISION_LIMITS.keysMax) stride *= 2;
  return stride;
}

const ADAPTER_STATES = ["absent", "active", "waiting"] as const;
const COUNT_BITS = 14;
const COUNT_MAX = (1 << COUNT_BITS) - 1;

/** An endpoint's adapters in one int. */
export function packAdapters(
  state: (typeof ADAPTER_STATES)[number],
  active: number,
  waiting: number,
): number {
  const counts = (Math.min(waiting, COUNT_MAX) << COUNT_BITS) | Math.min(active, COUNT_MAX);
  return (counts << 2) | ADAPTER_STATES.indexOf(state);
}

/** Whether it is an int that packAdapters makes. */
export function isPackedAdapters(packed: number | undefined): boolean {
  return packed !== undefined && ADAPTER_STATES[packed & 3] !== undefined;
}

export function unpackAdapters(packed: number) {
  return {
    state: ADAPTER_STATES[packed & 3]!,
    active: (packed >>> 2) & COUNT_MAX,
    waiting: (packed >>> (2 + COUNT_BITS)) & COUNT_MAX,
  };
}

// The form of a packed record.
//
//   record  = floats[12] ints[16] float-rows int-rows tail        in words of 8 bytes
//   floats  = FLOAT_FIELDS                       NaN for what is not known
//   ints    = INT_FIELDS                         texts as indices of the segment, -1 for none
//   float-rows = one run of rowCount a float64 column, then one a scorer (NaN: not scored)
//   int-rows   = one run of rowCount each: int32 columns, slot, endpoint, matched, removed by
//   tail    = removed[filterCount] chosen[chosenCount] excluded[excludedCount] keys[2 × keyCount]

import { SCHEDULER_LIMITS } from "../config/limits.ts";
import { COLUMN_NAMES, DECISION_LIMITS, RECORDED_COLUMNS } from "./record.ts";
import { DESTINATIONS_MAX } from "../endpoint-picker.ts";

export const FLOAT_FIELDS = [
  "atMs",
  "staleAfterMs",
  "seed",
  "configVersion",
  "priority",
  "promptTokens",
  "outputTokensMax",
  "bodyBytes",
  "resultTtftMs",
  "resultPromptTokens",
  "resultCachedTokens",
  "resultCompletionTokens",
] as const;
export const INT_FIELDS = [
  "attempt",
  "totalBlocks",
  "keyCount",
  "keyStride",
  "candidateCount",
  "rowCount",
  "filterCount",
  "scorerCount",
  "chosenCount",
  "excludedCount",
  "model",
  "tenant",
  "dropReason",
  "dropDetail",
  "resultOutcome",
  "resultEndpoint",
] as const;

/** Runs of a record's rows. */
export const FLOAT_COLUMNS = COLUMN_NAMES.filter((name) => RECORDED_COLUMNS[name] === "float64");
export const INT_COLUMNS = COLUMN_NAMES.filter((name) => RECORDED_COLUMNS[name] === "int32");
/** Slot, endpoint, matched blocks, removed by: behind the int32 columns. */
const ROW_INTS = INT_COLUMNS.length + 4;

export const FLOATS = FLOAT_FIELDS.length;
const INTS = INT_FIELDS.length;
export const HEADER_WORDS = FLOATS + INTS / 2;
/** Index of a text that is not there. */
export const NO_TEXT = -1;

/** Length of a record; `tailInts` is that of its tail. */
export function recordWords(rowCount: number, scorerCount: number, tailInts: number): number {
  const floats = (FLOAT_COLUMNS.length + scorerCount) * rowCount;
  return HEADER_WORDS + floats + Math.ceil((ROW_INTS * rowCount + tailInts) / 2);
}

/** The longest record: a segment must hold it. */
export const RECORD_BYTES_MAX =
  8 *
  recordWords(
    DECISION_LIMITS.candidatesMax,
    SCHEDULER_LIMITS.scorersMax,
    SCHEDULER_LIMITS.filtersMax +
      DESTINATIONS_MAX +
      DECISION_LIMITS.excludedMax +
      2 * DECISION_LIMITS.keysMax,
  );

/**
 * The smallest power of two that keeps few enough keys: then two requests keep the keys of the same
 * blocks, up to the larger of their strides, and a prefix they share shows.
 */
export function keyStrideOf(totalBlocks: number): number {
  let stride = 1;
  while (Math.ceil(totalBlocks / stride) > DECISION_LIMITS.keysMax) stride *= 2;
  return stride;
}

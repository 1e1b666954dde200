// What was seen of a pick's candidates, and how its rows are gathered from the pool's columns.

/** What a DecisionRecorder saw of one pick. Its buffers are reused for the next. */
export interface SeenDecision {
  candidateCount: number;
  /** Rows are the candidates to keep. */
  rowCount: number;
  readonly slots: Int32Array;
  readonly removedBy: Int8Array;
  /** By row: its index in every array of `scores`, or -1. */
  readonly scoredIndex: Int32Array;
  filterCount: number;
  /** By filter. */
  readonly removed: Int32Array;
  scorerCount: number;
  readonly scores: Float64Array[];
  chosenCount: number;
  readonly chosenRows: Int32Array;
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
  column: Float64Array,
  seen: SeenDecision,
  out: Float64Array,
  at: number,
): number {
  const { rowCount, slots } = seen;
  for (let row = 0; row < rowCount; row++) out[at + row] = column[slots[row]!]!;
  return at + rowCount;
}

/** NaN where a row was not scored. */
export function gatherScores(
  scores: Float64Array,
  seen: SeenDecision,
  out: Float64Array,
  at: number,
): number {
  const { rowCount, scoredIndex } = seen;
  for (let row = 0; row < rowCount; row++) {
    const index = scoredIndex[row]!;
    out[at + row] = index < 0 ? Number.NaN : scores[index]!;
  }
  return at + rowCount;
}

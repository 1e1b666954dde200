// A piece of the decision ring: packed records of one configuration in one buffer.
//
//   record  = floats[12] ints[16] float-rows int-rows tail        in words of 8 bytes
//   floats  = FLOAT_FIELDS                       NaN for what is not known
//   ints    = INT_FIELDS                         texts as indices into `#texts`, -1 for none
//   float-rows = one run of rowCount a float64 column, then one a scorer (NaN: not scored)
//   int-rows   = one run of rowCount each: int32 columns, slot, endpoint, matched, removed by
//   tail    = removed[filterCount] chosen[chosenCount] excluded[excludedCount] keys[2 × keyCount]
//
// Endpoints and texts are named by an index that is valid in this segment only, so that dropping a
// segment drops all that only it refers to. Texts a client chooses are counted; endpoints are shared
// with the pool's table, and counted in full once replaced there.

import type { SchedulerConfig } from "./config.ts";
import {
  COLUMN_NAMES,
  DECISION_LIMITS,
  type DecisionFacts,
  type DecisionResult,
  RECORDED_COLUMNS,
} from "./decision-record.ts";
import { DESTINATIONS_MAX } from "./endpoint-picker.ts";
import { SCHEDULER_LIMITS } from "./config.ts";
import { ENDPOINTS_MAX, type Endpoint } from "./model/endpoint-table.ts";
import type { PickContext } from "./plugin.ts";
import { assert } from "./support/assert.ts";

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

/** Who a slot is: an EndpointTable. */
export interface EndpointNames {
  endpoint(slot: number): Endpoint | undefined;
}

/** Everything of one decision that is to be kept. */
export interface FinishedDecision {
  readonly context: PickContext;
  readonly seen: SeenDecision;
  readonly facts: DecisionFacts;
  readonly table: EndpointNames;
}

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

const FLOATS = FLOAT_FIELDS.length;
const INTS = INT_FIELDS.length;
const HEADER_WORDS = FLOATS + INTS / 2;
const NO_TEXT = -1;

function recordWords(rowCount: number, scorerCount: number, tailInts: number): number {
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

/** Endpoints a segment names, over all their comings and goings; then it is full. */
const SEGMENT_ENDPOINTS_MAX = 2 * ENDPOINTS_MAX;
/** Heap that the ring's index takes for a record, besides the characters of its request id. */
const RECORD_INDEX_BYTES = 176;
/** Heap of a text besides its characters: header, array element, entry of the index. */
const TEXT_BYTES = 96;
/** A reference to an endpoint that the table holds, too. */
const ENDPOINT_REF_BYTES = 16;
/** Heap of an endpoint that the table has dropped: the object, its strings and labels. */
const ENDPOINT_BYTES = 512;

/**
 * The smallest power of two that keeps few enough keys: then two requests keep the keys of the same
 * blocks, up to the larger of their strides, and a prefix they share shows.
 */
function keyStrideOf(totalBlocks: number): number {
  let stride = 1;
  while (Math.ceil(totalBlocks / stride) > DECISION_LIMITS.keysMax) stride *= 2;
  return stride;
}

/** Which index each slot's endpoint has in the newest segment. One per ring; 12 kB. */
export class SlotIndex {
  readonly #endpoints: (Endpoint | undefined)[] = Array.from({ length: ENDPOINTS_MAX });
  readonly #indices = new Int32Array(ENDPOINTS_MAX).fill(-1);

  /** -1 if the slot's endpoint has none. */
  indexOf(slot: number, endpoint: Endpoint): number {
    return this.#endpoints[slot] === endpoint ? this.#indices[slot]! : -1;
  }

  /** True if the slot was another endpoint's. */
  assign(slot: number, endpoint: Endpoint, index: number): boolean {
    const before = this.#endpoints[slot];
    this.#endpoints[slot] = endpoint;
    this.#indices[slot] = index;
    return before !== undefined && before !== endpoint;
  }

  /** Keeps who is where, to notice who is replaced. */
  forgetIndices(): void {
    this.#indices.fill(-1);
  }
}

/** A segment of a DecisionRing. */
export class DecisionSegment {
  readonly scheduler: SchedulerConfig;
  readonly floats: Float64Array;
  readonly ints: Int32Array;
  /** Request ids of its records, in order; some may have moved on to a newer record. */
  readonly requestIds: string[] = [];
  readonly #texts: string[] = [];
  readonly #textIndex = new Map<string, number>();
  readonly #endpoints: Endpoint[] = [];
  readonly #slots: SlotIndex;
  #usedWords = 0;
  #extraBytes = 0;

  /** Takes `slots` over from the segment before: only the newest one is written to. */
  constructor(buffer: ArrayBuffer, scheduler: SchedulerConfig, slots: SlotIndex) {
    slots.forgetIndices();
    this.#slots = slots;
    assert(buffer.byteLength >= RECORD_BYTES_MAX, "a segment holds the longest record");
    this.scheduler = scheduler;
    this.floats = new Float64Array(buffer);
    this.ints = new Int32Array(buffer);
  }

  /** The buffer, and what it and the ring's index of it take of the heap. */
  get byteLength(): number {
    return this.floats.byteLength + this.#extraBytes;
  }

  get buffer(): ArrayBuffer {
    return this.floats.buffer as ArrayBuffer;
  }

  /** Packs a decision. Returns its place, or undefined when the segment is full. */
  write({ context, seen, facts, table }: FinishedDecision): number | undefined {
    const { rowCount, filterCount, scorerCount, chosenCount } = seen;
    const { totalBlocks } = context.prefix;
    const keyStride = keyStrideOf(totalBlocks);
    const keyCount = Math.ceil(totalBlocks / keyStride);
    const excluded = this.#indicesOf(facts.exclude, table);
    const tailInts = filterCount + chosenCount + excluded.length + 2 * keyCount;
    const words = recordWords(rowCount, scorerCount, tailInts);
    const at = this.#usedWords;
    const isFull =
      at + words > this.floats.length || this.#endpoints.length + rowCount > SEGMENT_ENDPOINTS_MAX;
    if (isFull) return undefined;
    this.#usedWords = at + words;
    this.#writeFloats(at, context, facts);
    const floatsAt = at + HEADER_WORDS;
    let i = 2 * (at + FLOATS);
    const { ints } = this;
    const { dropped } = facts;
    ints[i++] = facts.attempt;
    ints[i++] = totalBlocks;
    ints[i++] = keyCount;
    ints[i++] = keyStride;
    ints[i++] = seen.candidateCount;
    ints[i++] = rowCount;
    ints[i++] = filterCount;
    ints[i++] = scorerCount;
    ints[i++] = chosenCount;
    ints[i++] = excluded.length;
    ints[i++] = this.#textIndexOf(context.request.model);
    ints[i++] = this.#textIndexOf(context.request.tenant);
    ints[i++] = dropped === undefined ? NO_TEXT : this.#textIndexOf(dropped.reason);
    ints[i++] = dropped === undefined ? NO_TEXT : this.#textIndexOf(dropped.detail);
    ints[i++] = NO_TEXT;
    ints[i++] = NO_TEXT;
    i = 2 * this.#writeFloatRows(floatsAt, context, seen);
    i = this.#writeIntRows(i, context, { seen, table });
    for (let f = 0; f < filterCount; f++) ints[i++] = seen.removed[f]!;
    for (let c = 0; c < chosenCount; c++) ints[i++] = seen.chosenRows[c]!;
    for (const index of excluded) ints[i++] = index;
    const { keys } = context.request;
    for (let block = 0; block < totalBlocks; block += keyStride) {
      ints[i++] = keys[2 * block]!;
      ints[i++] = keys[2 * block + 1]!;
    }
    this.requestIds.push(context.request.requestId);
    this.#extraBytes += RECORD_INDEX_BYTES + context.request.requestId.length;
    return at;
  }

  /** Adds how the request went to the record at `at`. */
  settle(at: number, result: DecisionResult): void {
    const { floats, ints } = this;
    const first = at + FLOAT_FIELDS.indexOf("resultTtftMs");
    floats[first] = result.ttftMs ?? Number.NaN;
    floats[first + 1] = result.promptTokens ?? Number.NaN;
    floats[first + 2] = result.cachedTokens ?? Number.NaN;
    floats[first + 3] = result.completionTokens ?? Number.NaN;
    const last = 2 * (at + HEADER_WORDS) - 1;
    ints[last - 1] = this.#textIndexOf(result.outcome);
    ints[last] = this.#textIndexOf(result.endpoint);
  }

  text(index: number): string | undefined {
    return this.#texts[index];
  }

  endpoint(index: number): Endpoint {
    return this.#endpoints[index]!;
  }

  #writeFloats(at: number, context: PickContext, facts: DecisionFacts): void {
    const { request } = context;
    const { floats } = this;
    let i = at;
    floats[i++] = context.nowMs;
    floats[i++] = context.staleAfterMs;
    floats[i++] = facts.seed;
    floats[i++] = facts.configVersion;
    floats[i++] = request.priority;
    floats[i++] = request.promptTokens;
    floats[i++] = request.outputTokensMax ?? Number.NaN;
    floats[i++] = request.bodyBytes;
    floats.fill(Number.NaN, i, at + FLOATS);
  }

  /** Returns the word behind the rows. */
  #writeFloatRows(at: number, { endpoints }: PickContext, seen: SeenDecision): number {
    const { floats } = this;
    let i = at;
    for (const name of FLOAT_COLUMNS)
      i = gatherFloats(endpoints[name] as Float64Array, seen, floats, i);
    for (let s = 0; s < seen.scorerCount; s++) i = gatherScores(seen.scores[s]!, seen, floats, i);
    return i;
  }

  /** Returns the place behind the rows. */
  #writeIntRows(
    at: number,
    { endpoints, prefix }: PickContext,
    { seen, table }: { readonly seen: SeenDecision; readonly table: EndpointNames },
  ): number {
    const { rowCount, slots, removedBy } = seen;
    const { ints } = this;
    let i = at;
    for (const name of INT_COLUMNS) i = gatherInts(endpoints[name] as Int32Array, seen, ints, i);
    for (let row = 0; row < rowCount; row++) {
      const slot = slots[row]!;
      ints[i + row] = slot;
      ints[i + rowCount + row] = this.#endpointIndexOf(slot, table);
      ints[i + 2 * rowCount + row] = prefix.matchedBlocks[slot]!;
      ints[i + 3 * rowCount + row] = removedBy[row]!;
    }
    return i + 4 * rowCount;
  }

  #indicesOf(slots: DecisionFacts["exclude"], table: EndpointNames): number[] {
    if (slots === undefined || slots.length === 0) return [];
    return slots
      .filter((slot) => slot !== undefined && table.endpoint(slot) !== undefined)
      .slice(0, DECISION_LIMITS.excludedMax)
      .map((slot) => this.#endpointIndexOf(slot!, table));
  }

  #endpointIndexOf(slot: number, table: EndpointNames): number {
    const endpoint = table.endpoint(slot);
    assert(endpoint !== undefined, "a candidate is in the table");
    const known = this.#slots.indexOf(slot, endpoint);
    if (known >= 0) return known;
    const isReplaced = this.#slots.assign(slot, endpoint, this.#endpoints.length);
    this.#extraBytes += ENDPOINT_REF_BYTES + (isReplaced ? ENDPOINT_BYTES : 0);
    return this.#endpoints.push(endpoint) - 1;
  }

  #textIndexOf(text: string): number {
    const known = this.#textIndex.get(text);
    if (known !== undefined) return known;
    const index = this.#texts.push(text) - 1;
    this.#textIndex.set(text, index);
    this.#extraBytes += TEXT_BYTES + 2 * text.length;
    return index;
  }
}

// Stand-alone, each for one kind of array, so that their loops are compiled once and tightly.

/** Writes the column's value of each row into `out` from `at`; returns the place behind. */
function gatherInts(column: Int32Array, seen: SeenDecision, out: Int32Array, at: number): number {
  const { rowCount, slots } = seen;
  for (let row = 0; row < rowCount; row++) out[at + row] = column[slots[row]!]!;
  return at + rowCount;
}

function gatherFloats(
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
function gatherScores(
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

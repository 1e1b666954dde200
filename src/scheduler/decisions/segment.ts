// A piece of the decision ring: packed records of one configuration in one buffer. Their form is in
// layout.ts.
//
// Endpoints and texts are named by an index that is valid in this segment only, so that dropping a
// segment drops all that only it refers to. Texts a client chooses are counted; endpoints are shared
// with the pool's table, and counted in full once replaced there.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import {
  FLOAT_COLUMNS,
  FLOAT_FIELDS,
  FLOATS,
  HEADER_WORDS,
  INT_COLUMNS,
  keyStrideOf,
  NO_TEXT,
  RECORD_BYTES_MAX,
  recordWords,
} from "./layout.ts";
import { DECISION_LIMITS, type DecisionFacts, type DecisionResult } from "./record.ts";
import { gatherFloats, gatherInts, gatherScores, type SeenDecision } from "./rows.ts";
import type { SlotIndex } from "./slots.ts";
import { ENDPOINTS_MAX, type Endpoint } from "../model/endpoint-table.ts";
import type { EndpointDirectory, PickContext } from "../plugin.ts";
import { assert } from "../support/assert.ts";

/** Everything of one decision that is to be kept. */
export interface FinishedDecision {
  readonly context: PickContext;
  readonly seen: SeenDecision;
  readonly facts: DecisionFacts;
  readonly table: EndpointDirectory;
}

/** Endpoints a segment names, over all their comings and goings; then it is full. */
const SEGMENT_ENDPOINTS_MAX = 2 * ENDPOINTS_MAX;
/** Heap that the ring's index takes for a record, besides the characters of its request id. */
const RECORD_INDEX_BYTES = 240;
/** Heap of a text besides its characters: header, array element, entry of the index. */
const TEXT_BYTES = 96;
/** A reference to an endpoint that the table holds, too. */
const ENDPOINT_REF_BYTES = 16;
/** Heap of an endpoint that the table has dropped, and of each label, besides characters. */
const ENDPOINT_BYTES = 192;
const LABEL_BYTES = 48;

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
    { seen, table }: { readonly seen: SeenDecision; readonly table: EndpointDirectory },
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

  #indicesOf(slots: DecisionFacts["exclude"], table: EndpointDirectory): number[] {
    if (slots === undefined || slots.length === 0) return [];
    return slots
      .filter((slot) => slot !== undefined && table.endpoint(slot) !== undefined)
      .slice(0, DECISION_LIMITS.excludedMax)
      .map((slot) => this.#endpointIndexOf(slot!, table));
  }

  #endpointIndexOf(slot: number, table: EndpointDirectory): number {
    const endpoint = table.endpoint(slot);
    assert(endpoint !== undefined, "a candidate is in the table");
    const known = this.#slots.indexOf(slot, endpoint);
    if (known >= 0) return known;
    const replaced = this.#slots.assign(slot, endpoint, this.#endpoints.length);
    this.#extraBytes += ENDPOINT_REF_BYTES;
    if (replaced !== undefined) this.#extraBytes += bytesOfEndpoint(replaced);
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

function bytesOfEndpoint({ id, address, labels }: Endpoint): number {
  let bytes = ENDPOINT_BYTES + id.length + address.length;
  for (const [name, value] of Object.entries(labels))
    bytes += LABEL_BYTES + name.length + value.length;
  return bytes;
}

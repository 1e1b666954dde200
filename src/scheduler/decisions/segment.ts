// A piece of the decision ring: packed records of one configuration in one buffer. Their form is in
// layout.ts.
//
// Endpoints and texts are named by an index that is valid in this segment only, so that dropping a
// segment drops all that only it refers to. Texts a client chooses are counted; endpoints are shared
// with the pool's table, and counted in full once replaced there.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import {
  DECODE_ONLY,
  FLOAT_COLUMNS,
  FLOAT_FIELDS,
  FLOATS,
  HEADER_WORDS,
  INT_COLUMNS,
  keepRuns,
  type KeptRun,
  keyStrideOf,
  NOTHING,
  packAdapters,
  RECORD_BYTES_MAX,
  type RecordShape,
  recordWords,
  STRANDED,
} from "./layout.ts";
import { DECISION_LIMITS, type DecisionFacts, type DecisionResult } from "./record.ts";
import {
  gatherBytes,
  gatherFloats,
  gatherInts,
  gatherScores,
  gatherTerms,
  type SeenDecision,
} from "./rows.ts";
import type { SlotIndex } from "./slots.ts";
import { verdictInts, writeVerdicts } from "./verdicts.ts";
import type { AdapterTable } from "../model/adapters.ts";
import { ENDPOINTS_MAX, type Endpoint } from "../model/endpoint-table.ts";
import type { EndpointDirectory, PickContext } from "../plugin.ts";
import { assert } from "../support/assert.ts";

interface Shape extends RecordShape {
  readonly keyStride: number;
  readonly keyCount: number;
  readonly excludedCount: number;
}

/** What is kept of a decision's runs. */
interface Kept {
  readonly runs: readonly KeptRun[];
  readonly shape: Shape;
}

const RESULT_FLOATS_AT = FLOAT_FIELDS.indexOf("resultTtftMs");

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
const RECORD_INDEX_BYTES = 256;
/** Heap of a text besides its characters: header, array element, entry of the index. */
const TEXT_BYTES = 96;
/** A reference to an endpoint that the table holds, too. */
const ENDPOINT_REF_BYTES = 16;
/** Heap of an endpoint that the table has dropped, and of each label, besides characters. */
const ENDPOINT_BYTES = 192;
const LABEL_BYTES = 48;

export interface SegmentOptions {
  readonly scheduler: SchedulerConfig;
  readonly slots: SlotIndex;
}

/** A segment of a DecisionRing. */
export class DecisionSegment {
  readonly scheduler: SchedulerConfig;
  readonly floats: Float64Array;
  readonly ints: Int32Array;
  readonly singles: Float32Array;
  /** Request ids of its records, in order; some may have moved on to a newer record. */
  readonly requestIds: string[] = [];
  /** Of each of `requestIds`, where its record is. */
  readonly places: number[] = [];
  /** Of each of `requestIds`, which one it is of all that there ever were. */
  readonly numbers: number[] = [];
  readonly #texts: string[] = [];
  readonly #textIndex = new Map<string, number>();
  readonly #endpoints: Endpoint[] = [];
  readonly #slots: SlotIndex;
  #usedWords = 0;
  #extraBytes = 0;

  /** Takes `slots` over from the segment before: only the newest one is written to. */
  constructor(buffer: ArrayBuffer, { scheduler, slots }: SegmentOptions) {
    slots.forgetIndices();
    this.#slots = slots;
    assert(buffer.byteLength >= RECORD_BYTES_MAX, "a segment holds the longest record");
    this.scheduler = scheduler;
    this.floats = new Float64Array(buffer);
    this.ints = new Int32Array(buffer);
    this.singles = new Float32Array(buffer);
  }

  /** The buffer, and what it and the ring's index of it take of the heap. */
  get byteLength(): number {
    return this.floats.byteLength + this.#extraBytes;
  }

  get buffer(): ArrayBuffer {
    return this.floats.buffer as ArrayBuffer;
  }

  /** Of the buffer, what records take. */
  get usedBytes(): number {
    return Float64Array.BYTES_PER_ELEMENT * this.#usedWords;
  }

  /** All that its records name, by their indices. */
  get names(): { readonly texts: readonly string[]; readonly endpoints: readonly Endpoint[] } {
    return { texts: this.#texts, endpoints: this.#endpoints };
  }

  /** Packs a decision. Returns its place, or undefined when the segment is full. */
  write(decision: FinishedDecision): number | undefined {
    const { context, seen, facts, table } = decision;
    const runs = keepRuns(seen.runs, seen.runCount);
    const excluded = this.#indicesOf(facts.exclude, table);
    const shape = shapeOf(decision, runs, excluded.length);
    const at = this.#usedWords;
    const words = recordWords(shape);
    // The shadow's choice and the source may be others.
    const namesMax = this.#endpoints.length + seen.rowCount + 2;
    const isFull = at + words > this.floats.length || namesMax > SEGMENT_ENDPOINTS_MAX;
    if (isFull) return undefined;
    this.#usedWords = at + words;
    this.#writeFloats(at, context, facts);
    let i = this.#writeInts(2 * (at + FLOATS), decision, shape);
    i = this.#writeRunHeaders(i, facts.scheduler, runs);
    i = 2 * this.#writeFloatRows(i / 2, decision, { runs, shape });
    i = this.#writeIntRows(i, decision, { runs, shape });
    i = this.#writeRunTails(i, runs);
    i = writeVerdicts(this, i, seen.verdicts, (text) => this.#textIndexOf(text));
    for (const index of excluded) this.ints[i++] = index;
    this.#writeKeys(i, context);
    this.requestIds.push(context.request.requestId);
    this.places.push(at);
    this.#extraBytes += RECORD_INDEX_BYTES + context.request.requestId.length;
    return at;
  }

  /** Adds how the request went to the record at `at`. */
  settle(at: number, result: DecisionResult): void {
    const { floats, ints } = this;
    const first = at + RESULT_FLOATS_AT;
    floats[first] = result.ttftMs ?? Number.NaN;
    floats[first + 1] = result.promptTokens ?? Number.NaN;
    floats[first + 2] = result.cachedTokens ?? Number.NaN;
    floats[first + 3] = result.completionTokens ?? Number.NaN;
    floats[first + 4] = result.predictedTokens ?? Number.NaN;
    const last = 2 * (at + HEADER_WORDS) - 1;
    ints[last - 1] = this.#textIndexOf(result.outcome);
    ints[last] = this.#textIndexOf(result.endpoint);
    const { prefill } = result;
    if (prefill === undefined) return;
    floats[first + 5] = prefill.prefillMs;
    const flags = (prefill.isDecodeOnly ? DECODE_ONLY : 0) | (prefill.isStranded ? STRANDED : 0);
    ints[last - 5] = this.#textIndexOf(prefill.outcome);
    ints[last - 4] = prefill.endpoint === null ? NOTHING : this.#textIndexOf(prefill.endpoint);
    ints[last - 3] = flags;
    ints[last - 2] = prefill.failedCount;
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
    floats[i++] = request.ttftSloMs ?? Number.NaN;
    floats[i++] = request.tpotSloMs ?? Number.NaN;
    floats[i++] = facts.queue?.waitedMs ?? Number.NaN;
    floats[i++] = facts.queue?.saturation ?? Number.NaN;
    floats.fill(Number.NaN, i, at + FLOATS);
  }

  /** Each of these returns the place behind what it wrote. */
  #writeInts(at: number, { context, seen, facts, table }: FinishedDecision, shape: Shape): number {
    const { ints } = this;
    const { dropped, shadow, queue } = facts;
    let i = at;
    ints[i++] = facts.attempt;
    ints[i++] = context.prefix.totalBlocks;
    ints[i++] = shape.keyCount;
    ints[i++] = shape.keyStride;
    ints[i++] = seen.candidateCount;
    ints[i++] = seen.rowCount;
    ints[i++] = seen.runCount;
    ints[i++] = shape.excludedCount;
    ints[i++] = shape.isTiered;
    ints[i++] = shape.hasAdapters;
    ints[i++] = this.#textIndexOf(context.request.model);
    ints[i++] = this.#textIndexOf(context.request.tenant);
    ints[i++] = dropped === undefined ? NOTHING : this.#textIndexOf(dropped.reason);
    ints[i++] = dropped === undefined ? NOTHING : this.#textIndexOf(dropped.detail);
    ints[i++] = typeof shadow === "number" ? this.#endpointIndexOf(shadow, table) : NOTHING;
    ints[i++] = typeof shadow === "string" ? this.#textIndexOf(shadow) : NOTHING;
    ints[i++] = queue === undefined ? 0 : queue.priority;
    ints[i++] = queue === undefined ? NOTHING : this.#textIndexOf(queue.fairnessId);
    ints[i++] = seen.verdicts.length;
    const { kvSource } = facts;
    ints[i++] = kvSource === undefined ? NOTHING : this.#endpointIndexOf(kvSource, table);
    ints[i++] = NOTHING;
    ints[i++] = NOTHING;
    ints[i++] = 0;
    ints[i++] = 0;
    ints[i++] = NOTHING;
    ints[i++] = NOTHING;
    return i;
  }

  #writeRunHeaders(at: number, scheduler: SchedulerConfig, runs: readonly KeptRun[]): number {
    const { ints } = this;
    let i = at;
    for (const { run, scorerCount, termCount } of runs) {
      ints[i++] = scheduler.schedulingProfiles.findIndex(({ name }) => name === run.profile);
      ints[i++] = run.role;
      ints[i++] = run.filterCount;
      ints[i++] = scorerCount;
      ints[i++] = termCount;
      ints[i++] = run.chosenCount;
    }
    return i;
  }

  #writeFloatRows(at: number, { context, seen }: FinishedDecision, { runs, shape }: Kept): number {
    const { floats } = this;
    const { endpoints, prefix } = context;
    let i = at;
    for (const name of FLOAT_COLUMNS)
      i = gatherFloats(endpoints[name] as Float64Array, seen, floats, i);
    if (shape.isTiered === 1) i = gatherFloats(prefix.weightedBlocks, seen, floats, i);
    for (const { run, scorerCount } of runs) {
      const rows = { seen, run, out: floats };
      for (let s = 0; s < scorerCount; s++) i = gatherScores(run.scores[s]!, rows, i);
    }
    return i;
  }

  #writeIntRows(
    at: number,
    { context, seen, table }: FinishedDecision,
    { runs, shape }: Kept,
  ): number {
    const { rowCount, slots } = seen;
    const { endpoints, prefix, request } = context;
    const { ints } = this;
    let i = at;
    for (const name of INT_COLUMNS) i = gatherInts(endpoints[name] as Int32Array, seen, ints, i);
    for (let row = 0; row < rowCount; row++) {
      const slot = slots[row]!;
      ints[i + row] = slot;
      ints[i + rowCount + row] = this.#endpointIndexOf(slot, table);
    }
    i = gatherInts(prefix.matchedBlocks, seen, ints, i + 2 * rowCount);
    i = gatherBytes(seen.screenedBy, seen, ints, i);
    if (shape.hasAdapters === 1) {
      const { adapters } = endpoints;
      for (let row = 0; row < rowCount; row++) {
        const slot = slots[row]!;
        const state = adapters.stateOf(slot, request.model);
        const waiting = adapters.waitingCount(slot);
        ints[i++] = packAdapters(state, adapters.activeCount(slot), waiting);
      }
    }
    for (const { run, termCount } of runs) {
      i = gatherBytes(run.removedBy, seen, ints, i);
      const rows = { seen, run, out: this.singles };
      for (let t = 0; t < termCount; t++) i = gatherTerms(run.terms[t]!.values, rows, i);
    }
    return i;
  }

  #writeRunTails(at: number, runs: readonly KeptRun[]): number {
    const { ints } = this;
    let i = at;
    for (const { run, termCount } of runs) {
      for (let f = 0; f < run.filterCount; f++) ints[i++] = run.removed[f]!;
      for (let t = 0; t < termCount; t++) {
        ints[i++] = run.terms[t]!.scorer;
        ints[i++] = this.#textIndexOf(run.terms[t]!.name);
      }
      for (let c = 0; c < run.chosenCount; c++) ints[i++] = run.chosenRows[c]!;
    }
    return i;
  }

  #writeKeys(at: number, { request, prefix }: PickContext): void {
    const { totalBlocks } = prefix;
    const { ints } = this;
    const { keys } = request;
    const keyStride = keyStrideOf(totalBlocks);
    let i = at;
    for (let block = 0; block < totalBlocks; block += keyStride) {
      ints[i++] = keys[2 * block]!;
      ints[i++] = keys[2 * block + 1]!;
    }
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

function shapeOf(
  { context, seen }: FinishedDecision,
  runs: readonly KeptRun[],
  excludedCount: number,
): Shape {
  const { prefix, endpoints } = context;
  const keyStride = keyStrideOf(prefix.totalBlocks);
  const keyCount = Math.ceil(prefix.totalBlocks / keyStride);
  let scorerCount = 0;
  let termCount = 0;
  let tailInts = excludedCount + 2 * keyCount + verdictInts(seen.verdicts);
  for (const kept of runs) {
    scorerCount += kept.scorerCount;
    termCount += kept.termCount;
    tailInts += kept.run.filterCount + 2 * kept.termCount + kept.run.chosenCount;
  }
  const isTiered = prefix.weightedBlocks === prefix.matchedBlocks ? 0 : 1;
  const hasAdapters = hasAnyAdapters(endpoints.adapters, seen) ? 1 : 0;
  const { rowCount, runCount } = seen;
  const counts = { rowCount, runCount, scorerCount, termCount, tailInts };
  return { ...counts, isTiered, hasAdapters, keyStride, keyCount, excludedCount };
}

function hasAnyAdapters(adapters: AdapterTable, { rowCount, slots }: SeenDecision): boolean {
  for (let row = 0; row < rowCount; row++) {
    const slot = slots[row]!;
    if (adapters.activeCount(slot) > 0 || adapters.waitingCount(slot) > 0) return true;
  }
  return false;
}

function bytesOfEndpoint({ id, address, labels }: Endpoint): number {
  let bytes = ENDPOINT_BYTES + id.length + address.length;
  for (const [name, value] of Object.entries(labels))
    bytes += LABEL_BYTES + name.length + value.length;
  return bytes;
}

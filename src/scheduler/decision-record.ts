// What a decision saw and why it chose, kept for `fairlead explain`. Numbers only: no prompt.
//
// DecisionRecorder watches one pick and packs it; DecisionRing keeps packed records within a byte
// bound; explain.ts turns a record into something to read.

import { ENDPOINTS_MAX, type EndpointTable } from "./model/endpoint-table.ts";
import type { DropReason } from "./outcome.ts";
import type { PickRecorder } from "./endpoint-picker.ts";
import type { PickContext } from "./plugin.ts";

export const DECISION_LIMITS = {
  /** Candidates kept in a record, best totals first; the others are counted. */
  candidatesMax: 64,
  /** Keys kept of a request, at an even stride: enough to recognise its path later. */
  keysMax: 16,
  /** All records of a pool. */
  ringBytesMax: 4 * 1024 * 1024,
} as const;

/** Columns of a record's `values`, before one column a scorer. */
export const RECORD_COLUMNS = [
  "queueDepth",
  "runningRequests",
  "kvUsage",
  "inFlightRequests",
  "inFlightTokens",
  "matchedBlocks",
  "sampledAtMs",
  "total",
] as const;

/** How the request went, as the relay reported it. */
export interface DecisionResult {
  readonly endpoint: string;
  readonly outcome: string;
  readonly ttftMs: number | null;
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
}

export interface DecisionRecord {
  readonly requestId: string;
  readonly attempt: number;
  readonly atMs: number;
  readonly model: string;
  readonly tenant: string;
  readonly priority: number;
  readonly promptTokens: number;
  readonly totalBlocks: number;
  readonly keys: Uint32Array;
  readonly configVersion: number;
  readonly seed: number;
  readonly staleAfterMs: number;
  readonly filters: readonly { readonly type: string; readonly removed: number }[];
  readonly scorers: readonly { readonly type: string; readonly weight: number }[];
  /** Candidates before any filter; `ids.length` of them are kept. */
  readonly candidateCount: number;
  readonly ids: readonly string[];
  readonly addresses: readonly string[];
  /** Per kept candidate: index in `filters` of the one that removed it, or -1. */
  readonly removedBy: Int8Array;
  /** Row-major: RECORD_COLUMNS, then one score a scorer. NaN where a candidate was not scored. */
  readonly values: Float64Array;
  /** Indices into `ids`, in the order to try. Empty when dropped. */
  readonly chosen: readonly number[];
  readonly dropped?: { readonly reason: DropReason; readonly detail: string };
  result?: DecisionResult;
}

/** What the recorder cannot see by itself. */
export interface DecisionFacts {
  readonly attempt: number;
  readonly configVersion: number;
  readonly seed: number;
  readonly dropped?: { readonly reason: DropReason; readonly detail: string };
}

/** Watches one pick at a time. Owns its buffers; about 20 kB and 8 kB a scorer. */
export class DecisionRecorder implements PickRecorder {
  readonly #considered = new Int32Array(ENDPOINTS_MAX);
  readonly #removedBy = new Int8Array(ENDPOINTS_MAX);
  readonly #totals = new Float64Array(ENDPOINTS_MAX);
  readonly #kept = new Int32Array(DECISION_LIMITS.candidatesMax);
  #consideredCount = 0;
  #filters: { type: string; removed: number }[] = [];
  #scorers: { type: string; weight: number }[] = [];
  /** By scorer, then by slot. */
  readonly #scores: Float64Array[] = [];
  #chosen: number[] = [];
  #context: PickContext | undefined;

  considered(context: PickContext): void {
    this.#context = context;
    this.#consideredCount = context.candidateCount;
    this.#considered.set(context.candidates.subarray(0, context.candidateCount));
    this.#removedBy.fill(-1);
    this.#totals.fill(Number.NaN);
    this.#filters = [];
    this.#scorers = [];
    this.#chosen = [];
  }

  filtered(type: string, before: Int32Array, kept: Int32Array): void {
    const index = this.#filters.length;
    let k = 0;
    for (const slot of before) {
      if (kept[k] === slot) k++;
      else this.#removedBy[slot] = index;
    }
    this.#filters.push({ type, removed: before.length - kept.length });
  }

  scored(type: string, weight: number, context: PickContext, scores: Float64Array): void {
    const index = this.#scorers.length;
    this.#scorers.push({ type, weight });
    const bySlot = (this.#scores[index] ??= new Float64Array(ENDPOINTS_MAX));
    bySlot.fill(Number.NaN);
    for (let i = 0; i < context.candidateCount; i++) bySlot[context.candidates[i]!] = scores[i]!;
  }

  picked(context: PickContext, totals: Float64Array, slots: Int32Array): void {
    for (let i = 0; i < context.candidateCount; i++)
      this.#totals[context.candidates[i]!] = totals[i]!;
    this.#chosen = [...slots];
  }

  /**
   * Packs what was seen since `considered`. Undefined if that was never called: a pool without
   * endpoints has nothing to explain.
   */
  finish(table: EndpointTable, facts: DecisionFacts): DecisionRecord | undefined {
    const context = this.#context;
    this.#context = undefined;
    if (context === undefined) return undefined;
    const slots = this.#keptSlots();
    const { request } = context;
    return {
      requestId: request.requestId,
      attempt: facts.attempt,
      atMs: context.nowMs,
      model: request.model,
      tenant: request.tenant,
      priority: request.priority,
      promptTokens: request.promptTokens,
      totalBlocks: context.prefix.totalBlocks,
      keys: keysAtStride(request.keys),
      configVersion: facts.configVersion,
      seed: facts.seed,
      staleAfterMs: context.staleAfterMs,
      filters: this.#filters,
      scorers: this.#scorers,
      candidateCount: this.#consideredCount,
      ids: Array.from(slots, (slot) => table.endpoint(slot)?.id ?? ""),
      addresses: Array.from(slots, (slot) => table.endpoint(slot)?.address ?? ""),
      removedBy: Int8Array.from(slots, (slot) => this.#removedBy[slot]!),
      values: this.#values(context, slots),
      chosen: this.#chosen.map((slot) => slots.indexOf(slot)),
      ...(facts.dropped === undefined ? {} : { dropped: facts.dropped }),
    };
  }

  /**
   * All candidates where they fit; else the chosen, then those with the best totals. A view into
   * `#kept`. O(n) but for ranks near the top: a later candidate is compared with the last kept one.
   */
  #keptSlots(): Int32Array {
    const considered = this.#considered.subarray(0, this.#consideredCount);
    const kept = this.#kept;
    if (considered.length <= kept.length) {
      kept.set(considered);
      return kept.subarray(0, considered.length);
    }
    kept.set(this.#chosen);
    const first = this.#chosen.length;
    let count = first;
    for (const slot of considered) {
      const rank = orUnscored(this.#totals[slot]!);
      if (count === kept.length && rank <= orUnscored(this.#totals[kept[count - 1]!]!)) continue;
      if (this.#chosen.includes(slot)) continue;
      if (count < kept.length) count++;
      let at = count - 1;
      while (at > first && rank > orUnscored(this.#totals[kept[at - 1]!]!)) {
        kept[at] = kept[at - 1]!;
        at--;
      }
      kept[at] = slot;
    }
    return kept;
  }

  #values(context: PickContext, slots: Int32Array): Float64Array {
    const { endpoints, prefix } = context;
    const width = RECORD_COLUMNS.length + this.#scorers.length;
    const values = new Float64Array(slots.length * width);
    slots.forEach((slot, row) => {
      let at = row * width;
      values[at++] = endpoints.queueDepth[slot]!;
      values[at++] = endpoints.runningRequests[slot]!;
      values[at++] = endpoints.kvUsage[slot]!;
      values[at++] = endpoints.inFlightRequests[slot]!;
      values[at++] = endpoints.inFlightTokens[slot]!;
      values[at++] = prefix.matchedBlocks[slot]!;
      values[at++] = endpoints.sampledAtMs[slot]!;
      values[at++] = this.#totals[slot]!;
      for (let s = 0; s < this.#scorers.length; s++) values[at++] = this.#scores[s]![slot]!;
    });
    return values;
  }
}

/** A filtered candidate has no total; it ranks behind every scored one. */
function orUnscored(total: number): number {
  return Number.isNaN(total) ? -1 : total;
}

function keysAtStride(keys: Uint32Array): Uint32Array {
  const count = keys.length / 2;
  const kept = Math.min(count, DECISION_LIMITS.keysMax);
  const out = new Uint32Array(kept * 2);
  for (let i = 0; i < kept; i++) {
    const from = Math.floor((i * count) / kept) * 2;
    out[i * 2] = keys[from]!;
    out[i * 2 + 1] = keys[from + 1]!;
  }
  return out;
}

/** Fixed cost of a record besides its arrays: the object, its strings' headers, the Map entry. */
const RECORD_BYTES = 600;
/** References to its id and address, which the endpoint table shares, and who removed it. */
const CANDIDATE_BYTES = 20;

function bytesOf(record: DecisionRecord): number {
  const { requestId, model, tenant, dropped } = record;
  const chars = requestId.length + model.length + tenant.length + (dropped?.detail.length ?? 0);
  const arrayBytes = record.values.byteLength + record.keys.byteLength;
  return RECORD_BYTES + 2 * chars + arrayBytes + record.ids.length * CANDIDATE_BYTES;
}

/** The latest records of a pool, oldest dropped first when the byte bound is reached. */
export class DecisionRing {
  readonly #bytesMax: number;
  readonly #records = new Map<string, DecisionRecord>();
  #bytes = 0;

  constructor(bytesMax: number = DECISION_LIMITS.ringBytesMax) {
    this.#bytesMax = bytesMax;
  }

  get byteLength(): number {
    return this.#bytes;
  }

  add(record: DecisionRecord): void {
    const key = `${record.requestId}/${record.attempt}`;
    this.#drop(key);
    this.#records.set(key, record);
    this.#bytes += bytesOf(record);
    for (const oldest of this.#records.keys()) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#drop(oldest);
    }
  }

  /** Adds how an attempt went. No effect once its record has been dropped. */
  settle(requestId: string, attempt: number, result: DecisionResult): void {
    const record = this.#records.get(`${requestId}/${attempt}`);
    if (record !== undefined) record.result = result;
  }

  /** All attempts of a request that are still kept, first attempt first. */
  find(requestId: string): DecisionRecord[] {
    const found: DecisionRecord[] = [];
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const record = this.#records.get(`${requestId}/${attempt}`);
      if (record !== undefined) found.push(record);
    }
    return found;
  }

  #drop(key: string): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    this.#records.delete(key);
    this.#bytes -= bytesOf(record);
  }
}

/** Attempts looked for in `find`; far above what a retry budget allows. */
const ATTEMPTS_MAX = 16;

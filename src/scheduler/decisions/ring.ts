// The latest decisions of a pool, packed, within a byte bound.
//
//   segments:  oldest [r r r r] [r r r r r] … [r r · · ·] newest
//   index:     request id → its newest attempt → the one before → …
//
// Records are only ever appended to the newest segment. When the bytes are used up the oldest segment
// goes with all its records, its configuration, texts and endpoints; its buffer becomes the next one.
// A segment has one configuration, so at most as many are kept as there are segments.

import { DECISION_LIMITS, type DecisionRecord, type DecisionResult } from "./record.ts";
import { readRecord } from "./reader.ts";
import { RECORD_BYTES_MAX } from "./layout.ts";
import { DecisionSegment, type FinishedDecision } from "./segment.ts";
import { SlotIndex } from "./slots.ts";
import { assert } from "../support/assert.ts";

/** Pieces of a full ring: what is dropped at a time. */
const SEGMENTS = 32;

/** Where a record is. */
interface Entry {
  readonly attempt: number;
  readonly segment: DecisionSegment;
  readonly at: number;
  /** The record of an earlier pick for the same request. */
  readonly previous: Entry | undefined;
}

/** A record that is there to be read. */
export interface KeptRecord {
  /** Later ones have higher numbers. */
  readonly number: number;
  readonly requestId: string;
  readonly attempt: number;
  readonly atMs: number;
  /** As long as nothing is added. */
  readonly read: () => DecisionRecord;
}

export class DecisionRing {
  readonly #bytesMax: number;
  readonly #segmentBytes: number;
  /** Oldest first; the last is being filled. */
  readonly #segments: DecisionSegment[] = [];
  readonly #newestByRequest = new Map<string, Entry>();
  readonly #slots = new SlotIndex();
  readonly #nextNumber: () => number;
  #bytes = 0;
  /** Of the segment dropped last. */
  #spareBuffer: ArrayBuffer | undefined;

  /** `nextNumber` rises: whoever keeps other decisions, too, numbers all of them. */
  constructor(bytesMax: number = DECISION_LIMITS.ringBytesMax, nextNumber = createNumbers()) {
    this.#nextNumber = nextNumber;
    const segmentBytes = Math.max(RECORD_BYTES_MAX, bytesMax / SEGMENTS);
    assert(bytesMax >= 4 * segmentBytes, "a ring has room for a few segments");
    this.#bytesMax = bytesMax;
    this.#segmentBytes = Math.floor(segmentBytes / 8) * 8;
  }

  /** Buffers, and an estimate of the heap besides. Never above the bound. */
  get byteLength(): number {
    return this.#bytes;
  }

  /** Keeps a decision, in the place of an earlier one about the same attempt. */
  add(decision: FinishedDecision): void {
    const { requestId } = decision.context.request;
    const { attempt, scheduler } = decision.facts;
    let segment = this.#segments.at(-1);
    let at = segment?.scheduler === scheduler ? this.#write(segment, decision) : undefined;
    if (at === undefined) {
      segment = this.#open(scheduler);
      at = this.#write(segment, decision);
    }
    assert(segment !== undefined && at !== undefined, "an empty segment holds any record");
    const before = this.#newestByRequest.get(requestId);
    const previous = keepEntries(before, (entry) => entry.attempt !== attempt);
    this.#newestByRequest.set(requestId, { attempt, segment, at, previous });
    segment.numbers.push(this.#nextNumber());
    this.#dropUntil(this.#bytesMax);
  }

  /** Adds how an attempt went. No effect once its record has been dropped. */
  settle(requestId: string, attempt: number, result: DecisionResult): void {
    let entry = this.#newestByRequest.get(requestId);
    while (entry !== undefined && entry.attempt !== attempt) entry = entry.previous;
    if (entry === undefined) return;
    const { segment, at } = entry;
    const bytes = segment.byteLength;
    segment.settle(at, result);
    this.#bytes += segment.byteLength - bytes;
    this.#dropUntil(this.#bytesMax);
  }

  /** All attempts of a request that are still kept, first attempt first. */
  find(requestId: string): DecisionRecord[] {
    const found: DecisionRecord[] = [];
    let entry = this.#newestByRequest.get(requestId);
    for (; entry !== undefined; entry = entry.previous)
      found.push(readRecord(entry.segment, entry.at, requestId));
    return found.sort((a, b) => a.attempt - b.attempt);
  }

  /** When the oldest record was made that is kept; undefined without any. */
  get oldestAtMs(): number | undefined {
    const oldest = this.#segments.find(({ places }) => places.length > 0);
    return oldest === undefined ? undefined : oldest.floats[oldest.places[0]!];
  }

  /** The newest first, of those whose numbers are below `before`. One that was replaced is there once. */
  *newest(before = Infinity): Generator<KeptRecord> {
    for (const segment of this.#segments.toReversed()) {
      const { numbers, places, requestIds, floats } = segment;
      if (numbers.length > 0 && numbers[0]! >= before) continue;
      for (let i = numbers.length - 1; i >= 0; i--) {
        if (numbers[i]! >= before) continue;
        const at = places[i]!;
        const requestId = requestIds[i]!;
        const entry = this.#entryOf(requestId, segment, at);
        if (entry === undefined) continue;
        const read = () => readRecord(segment, at, requestId);
        const { attempt } = entry;
        yield { number: numbers[i]!, requestId, attempt, atMs: floats[at]!, read };
      }
    }
  }

  /** Undefined where a later record took the place of the one at `at`. */
  #entryOf(requestId: string, segment: DecisionSegment, at: number): Entry | undefined {
    let entry = this.#newestByRequest.get(requestId);
    while (entry !== undefined && !(entry.segment === segment && entry.at === at))
      entry = entry.previous;
    return entry;
  }

  #write(segment: DecisionSegment, decision: FinishedDecision): number | undefined {
    const before = segment.byteLength;
    const at = segment.write(decision);
    this.#bytes += segment.byteLength - before;
    return at;
  }

  #open(scheduler: DecisionSegment["scheduler"]): DecisionSegment {
    this.#dropUntil(this.#bytesMax - this.#segmentBytes);
    const buffer = this.#spareBuffer ?? new ArrayBuffer(this.#segmentBytes);
    this.#spareBuffer = undefined;
    const segment = new DecisionSegment(buffer, { scheduler, slots: this.#slots });
    this.#segments.push(segment);
    this.#bytes += segment.byteLength;
    return segment;
  }

  #dropUntil(bytesMax: number): void {
    while (this.#bytes > bytesMax) {
      const oldest = this.#segments.shift()!;
      for (const requestId of oldest.requestIds) this.#forget(requestId, oldest);
      this.#bytes -= oldest.byteLength;
      this.#spareBuffer = oldest.buffer;
    }
  }

  #forget(requestId: string, segment: DecisionSegment): void {
    const newest = this.#newestByRequest.get(requestId);
    const kept = keepEntries(newest, (entry) => entry.segment !== segment);
    if (kept === newest) return;
    if (kept === undefined) this.#newestByRequest.delete(requestId);
    else this.#newestByRequest.set(requestId, kept);
  }
}

/** 0, 1, 2, … */
export function createNumbers(): () => number {
  let next = 0;
  return () => next++;
}

/** The chain without those that `isKept` refuses. The same chain if it refuses none. */
function keepEntries(
  newest: Entry | undefined,
  isKept: (entry: Entry) => boolean,
): Entry | undefined {
  if (newest === undefined) return undefined;
  const previous = keepEntries(newest.previous, isKept);
  if (!isKept(newest)) return previous;
  return previous === newest.previous ? newest : { ...newest, previous };
}

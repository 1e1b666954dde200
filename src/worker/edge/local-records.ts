// Records of some of the decisions that this isolate takes alone about one pool, for the pool's object to show.
//
//   pick ── is one due? ── no: nothing is spent on it
//                       └─ yes: DecisionRecorder ──► packed ──► waits ──► goes with the next call to the object
//                                               └──► thrown away: the object is asked after all, and records its own
//
// One is due as a bucket has it that fills by time, so that the share of picks that are recorded falls as there are
// more of them; its last few are for requests that have failed somewhere before. To watch a pick is what costs, so
// one that is thrown away has taken its token. A call that failed leaves its
// records waiting: telling one twice does no harm.

import {
  type LocalRecord,
  RecordPacker,
  RECORDS_A_SYNC_MAX,
  sizeOfRecord,
} from "../../scheduler/decisions/packed-record.ts";
import { DecisionRecorder } from "../../scheduler/decisions/recorder.ts";
import type { DecisionFacts } from "../../scheduler/decisions/record.ts";
import type { EndpointDirectory } from "../../scheduler/plugin.ts";

/** In the mean, of this isolate, with what is thrown away. */
export const RECORDS_PER_S_MAX = 8;
/** The same of all isolates together, about: each knows how many there are. */
export const POOL_RECORDS_PER_S_MAX = 32;
/** At once. */
export const RECORDS_BURST_MAX = 16;
/** Of these, for requests that have failed somewhere. */
export const RECORDS_FOR_RETRIES = 4;
/** In one call to the object. One has 1 to 20 kB. */
export const RECORDS_A_SYNC_BYTES_MAX = 128 * 1024;
/** While the object is away: with more than that none is due. */
export const RECORDS_WAITING_BYTES_MAX = 256 * 1024;

/** A pick that is recorded. */
export interface RecordedPick {
  readonly requestId: string;
  readonly facts: DecisionFacts;
  /** Of the replica, as it was decided on. */
  readonly endpoints: EndpointDirectory;
}

export class LocalRecords {
  #tokens = RECORDS_BURST_MAX;
  #filledAtMs = 0;
  /** Oldest first. */
  #waiting: LocalRecord[] = [];
  #waitingBytes = 0;
  /** Of #waiting: those of the last call. */
  #underWay: ReadonlySet<LocalRecord> = new Set();

  /**
   * Who watches the pick at hand, and takes a token; undefined where it is not recorded. `isolates`: that decide about the pool alone.
   */
  // Hot path.
  recorderFor(isRetry: boolean, nowMs: number, isolates: number): DecisionRecorder | undefined {
    const perS = Math.min(RECORDS_PER_S_MAX, POOL_RECORDS_PER_S_MAX / Math.max(1, isolates));
    const filled = this.#tokens + (Math.max(0, nowMs - this.#filledAtMs) / 1_000) * perS;
    this.#tokens = Math.min(RECORDS_BURST_MAX, filled);
    this.#filledAtMs = nowMs;
    const least = isRetry ? 1 : 1 + RECORDS_FOR_RETRIES;
    const isDue = this.#tokens >= least && this.#waitingBytes < RECORDS_WAITING_BYTES_MAX;
    if (!isDue) return undefined;
    this.#tokens -= 1;
    return recording().recorder;
  }

  /** What its recorder has seen is to be told. Before the replica changes. */
  keep({ requestId, facts, endpoints }: RecordedPick): void {
    const { recorder, packer } = recording();
    recorder.finish(endpoints, facts);
    const packed = packer.take();
    if (packed === undefined) return;
    this.#waiting.push({ ...packed, requestId, attempt: facts.attempt });
    this.#waitingBytes += sizeOfRecord(packed);
  }

  /** For a call to the object: as many as it takes, oldest first. At least one, if there are any. */
  take(): { readonly records?: readonly LocalRecord[] } {
    if (this.#waiting.length === 0) return {};
    let bytes = 0;
    const records = this.#waiting.slice(0, RECORDS_A_SYNC_MAX).filter((record, i) => {
      bytes += sizeOfRecord(record);
      return i === 0 || bytes <= RECORDS_A_SYNC_BYTES_MAX;
    });
    this.#underWay = new Set(records);
    return { records };
  }

  /** The call has been answered. */
  told(): void {
    if (this.#underWay.size === 0) return;
    this.#waiting = this.#waiting.filter((record) => !this.#underWay.has(record));
    this.#waitingBytes = this.#waiting.reduce((bytes, record) => bytes + sizeOfRecord(record), 0);
    this.#underWay = new Set();
  }
}

interface Recording {
  readonly packer: RecordPacker;
  readonly recorder: DecisionRecorder;
}

/** Of this isolate, for all pools: one pick at a time is watched. About 200 kB, once there was one to record. */
let made: Recording | undefined;

function recording(): Recording {
  if (made === undefined) {
    const packer = new RecordPacker();
    made = { packer, recorder: new DecisionRecorder(packer) };
  }
  return made;
}

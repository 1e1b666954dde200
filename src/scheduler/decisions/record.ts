// What a decision saw and why it chose: enough to explain it, and for the same code to take it again.
// Numbers, names and keys only: no prompt.
//
// DecisionRecorder watches one pick. DecisionRing keeps what it saw, packed, within a byte bound, and
// unpacks it into these records when somebody asks. explain.ts turns a record into a document, and
// replay.ts takes the document's decision again.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";
import type { DropReason } from "../outcome.ts";

export const DECISION_LIMITS = {
  /** Candidates kept in a record, the chosen and then the best totals; the others are counted. */
  candidatesMax: 64,
  /**
   * Keys kept of a request, every 2^n-th from the first. A replay needs none of them, as it has what
   * each candidate matched; they tell which requests shared a prefix, to 1 % of the longest prompt,
   * and cost at most 1 KiB, where 64 candidates cost 6.
   */
  keysMax: 128,
  /** Endpoints kept of those that a retry excluded; what is tried is fewer. */
  excludedMax: 16,
  /** All records of a pool. */
  ringBytesMax: 4 * 1024 * 1024,
} as const;

/** What a plugin can read of an endpoint, besides its matched blocks. */
export type ColumnName = Exclude<
  keyof EndpointColumns,
  "slotCount" | "isPresent" | "adapters" | "scalar"
>;

/**
 * Every column, whether a plugin reads it today or not, and how it is packed. A column that is added
 * to EndpointColumns must be added here: without it no decision that reads it could be replayed.
 */
export const RECORDED_COLUMNS = {
  queueDepth: "int32",
  runningRequests: "int32",
  kvUsage: "float64",
  kvCapacityTokens: "float64",
  sampledAtMs: "float64",
  inFlightRequests: "int32",
  inFlightTokens: "float64",
  ejectedUntilMs: "float64",
  prefillBusyUntilMs: "float64",
  prefillMsPerToken: "float64",
  serviceMs: "float64",
  requestTokens: "float64",
  coldTokens: "float64",
  loraMax: "int32",
} as const satisfies Record<ColumnName, "int32" | "float64">;

export const COLUMN_NAMES = Object.keys(RECORDED_COLUMNS) as ColumnName[];

/** How the request went, as the relay reported it. */
export interface DecisionResult {
  readonly endpoint: string;
  readonly outcome: string;
  readonly ttftMs: number | null;
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
}

export interface RecordedCandidate {
  readonly slot: number;
  readonly id: string;
  readonly address: string;
  readonly matchedBlocks: number;
  readonly columns: Readonly<Record<ColumnName, number>>;
  /** Index in `filters` of the one that removed it, or -1. */
  readonly removedBy: number;
  /** One a scorer, before weighting; empty where it was not scored. */
  readonly scores: readonly number[];
  /** Weighted sum of `scores`, as the picker saw it; NaN where it was not scored. */
  readonly total: number;
}

/** One decision, unpacked. */
export interface DecisionRecord {
  readonly requestId: string;
  readonly attempt: number;
  readonly atMs: number;
  readonly model: string;
  readonly tenant: string;
  readonly priority: number;
  readonly promptTokens: number;
  readonly outputTokensMax: number | null;
  readonly bodyBytes: number;
  readonly totalBlocks: number;
  /** Keys of blocks 0, keyStride, 2 × keyStride, …; two words a key. */
  readonly keys: Uint32Array;
  readonly keyStride: number;
  readonly configVersion: number;
  readonly scheduler: SchedulerConfig;
  readonly seed: number;
  readonly staleAfterMs: number;
  /** Those that ran: a filter that leaves nobody is the last. */
  readonly filters: readonly { readonly type: string; readonly removed: number }[];
  /** Empty when no candidate passed the filters. */
  readonly scorers: readonly { readonly type: string; readonly weight: number }[];
  /** Candidates before any filter; `candidates.length` of them are kept. */
  readonly candidateCount: number;
  readonly candidates: readonly RecordedCandidate[];
  /** Indices into `candidates`, in the order to try. Empty when dropped. */
  readonly chosen: readonly number[];
  /** Ids of endpoints that were no candidates because they had failed for this request. */
  readonly excluded: readonly string[];
  readonly dropped?: { readonly reason: DropReason; readonly detail: string };
  readonly result?: DecisionResult;
}

/** What the recorder cannot see by itself. */
export interface DecisionFacts {
  readonly attempt: number;
  readonly configVersion: number;
  /**
   * The configuration that decided. Kept by reference until the last record that it decided is gone:
   * hand in the same object while it is in force.
   */
  readonly scheduler: SchedulerConfig;
  readonly seed: number;
  /** Slots that were excluded; undefined for an address that the pool does not know. */
  readonly exclude?: readonly (number | undefined)[];
  readonly dropped?: { readonly reason: DropReason; readonly detail: string };
}

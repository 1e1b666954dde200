// What a decision saw and why it chose: enough to explain it, and for the same code to take it again.
// Numbers, names and keys only: no prompt.
//
// DecisionRecorder watches one pick. DecisionRing keeps what it saw, packed, within a byte bound, and
// unpacks it into these records when somebody asks. explain.ts turns a record into a document, and
// replay.ts takes the document's decision again.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type { AdapterState } from "../model/adapters.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";
import type { Endpoint } from "../model/endpoint-table.ts";
import type { DropReason } from "../outcome.ts";
import type { RecordedVerdict } from "./verdicts.ts";

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
  /**
   * Scorers of a decision whose answers are kept, over all its profiles, and parts of scores. A
   * profile that has no room left keeps its choice, and neither scores nor totals.
   */
  scoresMax: 32,
  termsMax: 24,
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
  cameAtMs: "float64",
  prefillBusyUntilMs: "float64",
  prefillMsPerToken: "float64",
  transferMsPerToken: "float64",
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
  /** Absent where prefill did not run apart, or the relay did not say. */
  readonly prefill?: PrefillResult;
  /** Of `cachedTokens`, what the decision believed, where it went by exact knowledge and is compared. */
  readonly predictedTokens: number | null;
}

/** What became of a prefill that ran apart, as the relay reported it. */
export interface PrefillResult {
  /** The one that served, or was tried last; null where none could be asked. */
  readonly endpoint: string | null;
  readonly outcome: string;
  /** From the first prefill to the end of the last. */
  readonly prefillMs: number;
  /** Prefill endpoints that failed before. */
  readonly failedCount: number;
  /** The endpoint that answered computed the prompt itself. */
  readonly isDecodeOnly: boolean;
  /** Nobody came for the blocks. */
  readonly isStranded: boolean;
}

/** How a request came to be decided, where flow control lets requests through. */
export interface QueueFacts {
  /** 0: it was let through at once. */
  readonly waitedMs: number;
  /** Of the band it was in. */
  readonly priority: number;
  readonly fairnessId: string;
  /** Of the pool, as it was let through; absent where that is not known. */
  readonly saturation?: number;
}

/** LoRA adapters of an endpoint, and where the request's model is among them. */
export interface RecordedAdapters {
  readonly state: AdapterState;
  readonly active: number;
  readonly waiting: number;
}

export interface RecordedCandidate {
  readonly slot: number;
  readonly endpoint: Endpoint;
  readonly matchedBlocks: number;
  /** The same by tier; equals matchedBlocks where tiers were not told apart. */
  readonly weightedBlocks: number;
  readonly columns: Readonly<Record<ColumnName, number>>;
  readonly adapters: RecordedAdapters;
  /** Index among the screeners of the one that refused it, or -1. */
  readonly screenedBy: number;
  /** Others were likelier to send there, so only who is left of the rest was to be chosen. */
  readonly isSpared: boolean;
}

/** A plugin instance as it is told: by its name, and its type where that differs. */
export interface PluginLabel {
  readonly name: string;
  readonly type: string;
}

/** What a profile said of a candidate. */
export interface RecordedRow {
  /** Index in `filters` of the one that removed it, or -1. */
  readonly removedBy: number;
  /** One a scorer, before weighting; empty where it was not scored. */
  readonly scores: readonly number[];
  /** Weighted sum of `scores`, as the picker saw it; NaN where it was not scored. */
  readonly total: number;
  /** One of the run's `terms` each. */
  readonly terms: readonly number[];
}

/** What a profile's choice was used for: `none` where the handler only looked at it. */
export const STAGE_ROLES = ["none", "primary", "prefill", "encode"] as const;
export type StageRole = (typeof STAGE_ROLES)[number];

/** One profile at work. */
export interface RecordedRun {
  readonly profile: string;
  readonly role: StageRole;
  /** Those that ran: a filter that leaves nobody is the last. */
  readonly filters: readonly (PluginLabel & { readonly removed: number })[];
  /** Empty when no candidate passed the filters. */
  readonly scorers: readonly (PluginLabel & { readonly weight: number })[];
  /** Parts of scores; `scorer` is an index in `scorers`. */
  readonly terms: readonly { readonly scorer: number; readonly name: string }[];
  /** One a candidate of the record. */
  readonly rows: readonly RecordedRow[];
  /** Indices into the record's `candidates`, in the order to try. Empty where nobody was found. */
  readonly chosen: readonly number[];
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
  readonly ttftSloMs: number | null;
  readonly tpotSloMs: number | null;
  readonly totalBlocks: number;
  /** Keys of blocks 0, keyStride, 2 × keyStride, …; two words a key. */
  readonly keys: Uint32Array;
  readonly keyStride: number;
  readonly configVersion: number;
  readonly scheduler: SchedulerConfig;
  readonly seed: number;
  readonly staleAfterMs: number;
  /** Names of the configuration's screeners. */
  readonly screeners: readonly string[];
  /** Candidates before any filter; `candidates.length` of them are kept. */
  readonly candidateCount: number;
  readonly candidates: readonly RecordedCandidate[];
  /** In the order they ran; none where the request was refused before. */
  readonly runs: readonly RecordedRun[];
  /** What deciders said, in the order they were asked. */
  readonly verdicts: readonly RecordedVerdict[];
  /** Whose KV blocks could be copied; absent where that saved nothing. */
  readonly kvSource?: Endpoint;
  /** Ids of endpoints that were no candidates because they had failed for this request. */
  readonly excluded: readonly string[];
  readonly dropped?: { readonly reason: DropReason; readonly detail: string };
  /** Absent where the pool had no flow control. */
  readonly queue?: QueueFacts;
  readonly shadow?: ShadowChoice;
  readonly result?: DecisionResult;
}

/** What the pool's shadow configuration would have done. */
export type ShadowChoice =
  | { readonly ok: true; readonly address: string }
  | { readonly ok: false; readonly reason: DropReason };

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
  /** Slot whose KV blocks could be copied. */
  readonly kvSource?: number | undefined;
  readonly dropped?: { readonly reason: DropReason; readonly detail: string };
  /** Absent where the pool has no flow control. */
  readonly queue?: QueueFacts | undefined;
  /** Slot that a shadow configuration chose, or why it chose none. */
  readonly shadow?: number | DropReason;
}

// A decision record as a document: who was considered, with what numbers, why the others lost, and
// everything that replay.ts needs to take the decision again. The object makes it, /admin/v1/explain
// answers it, the CLI reads it.
//
// Documents are kept in files. Fields are only ever added, as optional ones: an older document is
// still read, and an older CLI reads a newer document.

import { z } from "zod";
import type { SchedulerConfig } from "../config/scheduler-config.ts";
import {
  COLUMN_NAMES,
  DECISION_LIMITS,
  type DecisionRecord,
  type RecordedCandidate,
} from "./record.ts";
import { CONTENT_KEYS_MAX } from "../kv/content-keys.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";

const candidateSchema = z.object({
  id: z.string(),
  address: z.string(),
  /** 1 is the first choice; null for a candidate that a filter removed. */
  rank: z.int().nullable(),
  total: z.number().nullable(),
  queueDepth: z.number(),
  runningRequests: z.number(),
  kvUsage: z.number(),
  inFlightRequests: z.number(),
  inFlightTokens: z.number(),
  matchedBlocks: z.number(),
  /** Age of the load sample at the decision; null if there never was one. */
  ageMs: z.number().nullable(),
  /** By scorer type, before weighting; null where not scored. */
  scores: z.record(z.string(), z.number().nullable()),
  why: z.string(),
  slot: z
    .int()
    .min(0)
    .max(ENDPOINTS_MAX - 1)
    .optional(),
  /** Type of the filter that removed it. */
  removedBy: z.string().nullable().optional(),
  /** All that a plugin could read of it, exactly; null for a time that never was. */
  columns: z.record(z.string(), z.number().nullable()).optional(),
});

const attemptSchema = z.object({
  attempt: z.int(),
  atMs: z.number(),
  model: z.string(),
  tenant: z.string(),
  priority: z.number(),
  promptTokens: z.number(),
  totalBlocks: z.int().min(0).max(CONTENT_KEYS_MAX),
  configVersion: z.number(),
  seed: z.number(),
  staleAfterMs: z.number(),
  filters: z.array(z.object({ type: z.string(), removed: z.number() })),
  scorers: z.array(z.object({ type: z.string(), weight: z.number() })),
  candidateCount: z.number(),
  /** All, or the best DECISION_LIMITS.candidatesMax of them. */
  candidates: z.array(candidateSchema),
  /** Addresses in the order to try; empty when the request was refused. */
  chosen: z.array(z.string()),
  dropped: z.object({ reason: z.string(), detail: z.string() }).nullable(),
  result: z
    .object({
      endpoint: z.string(),
      outcome: z.string(),
      ttftMs: z.number().nullable(),
      promptTokens: z.number().nullable(),
      cachedTokens: z.number().nullable(),
      completionTokens: z.number().nullable(),
    })
    .nullable(),
  outputTokensMax: z.number().nullable().optional(),
  bodyBytes: z.number().optional(),
  /** Ids of endpoints that had failed for this request and were not considered. */
  excluded: z.array(z.string()).optional(),
  /** Content keys of blocks 0, keyStride, 2 × keyStride, … in hexadecimal. */
  keys: z
    .array(z.string().regex(/^[0-9a-f]{16}$/, "expected 16 hexadecimal digits"))
    .max(DECISION_LIMITS.keysMax)
    .optional(),
  keyStride: z.int().min(1).optional(),
  /** What decided. Not parsed here: a newer deployment may have plugins this code does not know. */
  scheduler: z.unknown().optional(),
});

export const explanationSchema = z.object({
  requestId: z.string(),
  pool: z.string(),
  attempts: z.array(attemptSchema),
});
/** An explanation as it was read: what its writer did not know is absent. */
export type ExplanationDocument = z.output<typeof explanationSchema>;
export type ExplainedAttempt = ExplanationDocument["attempts"][number];
export type ExplainedCandidate = ExplainedAttempt["candidates"][number];

/** An attempt as this code writes it. */
export type WrittenAttempt = Omit<ExplainedAttempt, "scheduler"> & {
  readonly scheduler: SchedulerConfig;
};
export interface Explanation {
  readonly requestId: string;
  readonly pool: string;
  readonly attempts: readonly WrittenAttempt[];
}

/** All attempts at one request. Undefined if no record of it is kept. */
export function explain(pool: string, records: readonly DecisionRecord[]): Explanation | undefined {
  const first = records[0];
  if (first === undefined) return undefined;
  return { requestId: first.requestId, pool, attempts: records.map(explainAttempt) };
}

/** One attempt. */
export function explainAttempt(record: DecisionRecord): WrittenAttempt {
  const candidates = record.candidates.map((candidate) => candidateOf(record, candidate));
  rankCandidates(record, candidates);
  const winner = candidates[record.chosen[0] ?? -1];
  for (const candidate of candidates) candidate.why = why({ record, candidate, winner });
  return {
    attempt: record.attempt,
    atMs: record.atMs,
    model: record.model,
    tenant: record.tenant,
    priority: record.priority,
    promptTokens: record.promptTokens,
    totalBlocks: record.totalBlocks,
    configVersion: record.configVersion,
    seed: record.seed,
    staleAfterMs: record.staleAfterMs,
    filters: [...record.filters],
    scorers: [...record.scorers],
    candidateCount: record.candidateCount,
    candidates: candidates.toSorted((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity)),
    chosen: record.chosen.map((row) => record.candidates[row]!.address),
    dropped: record.dropped ?? null,
    result: record.result ?? null,
    outputTokensMax: record.outputTokensMax,
    bodyBytes: record.bodyBytes,
    excluded: [...record.excluded],
    keys: keysInHex(record.keys),
    keyStride: record.keyStride,
    scheduler: record.scheduler,
  };
}

function keysInHex(keys: Uint32Array): string[] {
  const word = (index: number) => keys[index]!.toString(16).padStart(8, "0");
  // Low word first in memory, high word first in print.
  return Array.from({ length: keys.length / 2 }, (_, i) => word(2 * i + 1) + word(2 * i));
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

function candidateOf(record: DecisionRecord, candidate: RecordedCandidate): ExplainedCandidate {
  const { columns, removedBy } = candidate;
  const { sampledAtMs } = columns;
  return {
    id: candidate.id,
    address: candidate.address,
    rank: null,
    total: orNull(candidate.total),
    queueDepth: columns.queueDepth,
    runningRequests: columns.runningRequests,
    kvUsage: columns.kvUsage,
    inFlightRequests: columns.inFlightRequests,
    inFlightTokens: columns.inFlightTokens,
    matchedBlocks: candidate.matchedBlocks,
    ageMs: sampledAtMs === -Infinity ? null : record.atMs - sampledAtMs,
    scores: Object.fromEntries(
      record.scorers.map(({ type }, s) => [type, candidate.scores[s] ?? null]),
    ),
    why: "",
    slot: candidate.slot,
    removedBy: record.filters[removedBy]?.type ?? null,
    columns: Object.fromEntries(COLUMN_NAMES.map((name) => [name, finite(columns[name])])),
  };
}

/** JSON has no infinity. -Infinity is a time that never was. */
function finite(value: number): number | null {
  return value === -Infinity ? null : Math.min(value, Number.MAX_VALUE);
}

/** The chosen in their order, then the other scored candidates by total. */
function rankCandidates(record: DecisionRecord, candidates: ExplainedCandidate[]): void {
  const rest = candidates
    .map((candidate, row) => ({ candidate, row }))
    .filter(({ candidate, row }) => candidate.total !== null && !record.chosen.includes(row))
    .sort((a, b) => b.candidate.total! - a.candidate.total!);
  const order = [...record.chosen.map((row) => candidates[row]!), ...rest.map((r) => r.candidate)];
  order.forEach((candidate, index) => {
    candidate.rank = index + 1;
  });
}

function why(input: {
  record: DecisionRecord;
  candidate: ExplainedCandidate;
  winner: ExplainedCandidate | undefined;
}): string {
  const { record, candidate, winner } = input;
  if (typeof candidate.removedBy === "string") return `removed by ${candidate.removedBy}`;
  if (candidate === winner) return "chosen";
  if (winner === undefined || candidate.total === null) return "not scored";
  if (candidate.total === winner.total) return "tied with the chosen; decided at random";
  let worst = { type: "", gap: 0 };
  for (const { type, weight } of record.scorers) {
    const gap = ((winner.scores[type] ?? 0) - (candidate.scores[type] ?? 0)) * weight;
    if (gap > worst.gap) worst = { type, gap };
  }
  return `lost ${worst.gap.toFixed(2)} on ${worst.type}`;
}

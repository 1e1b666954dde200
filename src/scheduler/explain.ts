// A decision record as something to read: who was considered, with what numbers, and why the
// others lost. The schema is what /admin/v1/explain answers and the CLI parses.

import { z } from "zod";
import { type DecisionRecord, RECORD_COLUMNS } from "./decision-record.ts";

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
});

const attemptSchema = z.object({
  attempt: z.int(),
  atMs: z.number(),
  model: z.string(),
  tenant: z.string(),
  priority: z.number(),
  promptTokens: z.number(),
  totalBlocks: z.number(),
  configVersion: z.number(),
  seed: z.number(),
  staleAfterMs: z.number(),
  filters: z.array(z.object({ type: z.string(), removed: z.number() })),
  scorers: z.array(z.object({ type: z.string(), weight: z.number() })),
  candidateCount: z.number(),
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
});

export const explanationSchema = z.object({
  requestId: z.string(),
  pool: z.string(),
  attempts: z.array(attemptSchema),
});
export type Explanation = z.output<typeof explanationSchema>;
export type ExplainedAttempt = Explanation["attempts"][number];
export type ExplainedCandidate = ExplainedAttempt["candidates"][number];

/** All attempts at one request. Undefined if no record of it is kept. */
export function explain(pool: string, records: readonly DecisionRecord[]): Explanation | undefined {
  const first = records[0];
  if (first === undefined) return undefined;
  return { requestId: first.requestId, pool, attempts: records.map(explainAttempt) };
}

function explainAttempt(record: DecisionRecord): ExplainedAttempt {
  const candidates = record.ids.map((_, row) => candidateOf(record, row));
  rankCandidates(record, candidates);
  const winner = candidates[record.chosen[0] ?? -1];
  for (const [row, candidate] of candidates.entries()) {
    candidate.why = why({ record, candidate, winner, removedBy: record.removedBy[row]! });
  }
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
    chosen: record.chosen.map((row) => record.addresses[row]!),
    dropped: record.dropped ?? null,
    result: record.result ?? null,
  };
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

function candidateOf(record: DecisionRecord, row: number): ExplainedCandidate {
  const width = RECORD_COLUMNS.length + record.scorers.length;
  const value = (column: number) => record.values[row * width + column]!;
  const at = (name: (typeof RECORD_COLUMNS)[number]) => value(RECORD_COLUMNS.indexOf(name));
  const sampledAtMs = at("sampledAtMs");
  return {
    id: record.ids[row]!,
    address: record.addresses[row]!,
    rank: null,
    total: orNull(at("total")),
    queueDepth: at("queueDepth"),
    runningRequests: at("runningRequests"),
    kvUsage: at("kvUsage"),
    inFlightRequests: at("inFlightRequests"),
    inFlightTokens: at("inFlightTokens"),
    matchedBlocks: at("matchedBlocks"),
    ageMs: sampledAtMs === -Infinity ? null : record.atMs - sampledAtMs,
    scores: Object.fromEntries(
      record.scorers.map(({ type }, s) => [type, orNull(value(RECORD_COLUMNS.length + s))]),
    ),
    why: "",
  };
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
  removedBy: number;
}): string {
  const { record, candidate, winner, removedBy } = input;
  if (removedBy >= 0) return `removed by ${record.filters[removedBy]!.type}`;
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

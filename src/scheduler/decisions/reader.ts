// Unpacks a record of a segment; see layout.ts for the form. Only when somebody asks.

import { resolveProfile } from "../config/resolve.ts";
import {
  type ColumnName,
  type DecisionRecord,
  type DecisionResult,
  type RecordedCandidate,
} from "./record.ts";
import { FLOAT_COLUMNS, FLOAT_FIELDS, INT_COLUMNS, INT_FIELDS } from "./layout.ts";
import type { DecisionSegment } from "./segment.ts";
import type { DropReason } from "../outcome.ts";

type Header = Readonly<Record<(typeof FLOAT_FIELDS)[number] | (typeof INT_FIELDS)[number], number>>;
type Scorers = DecisionRecord["scorers"];

/** The record at `at`, a place that `segment.write` returned. */
export function readRecord(
  segment: DecisionSegment,
  at: number,
  requestId: string,
): DecisionRecord {
  const header = readHeader(segment, at);
  const profile = resolveProfile(segment.scheduler);
  const scorers = profile.scorers
    .slice(0, header.scorerCount)
    .map(({ plugin, weight }) => ({ type: plugin.name, weight }));
  const rowsAt = at + FLOAT_FIELDS.length + INT_FIELDS.length / 2;
  const { candidates, end } = readCandidates(segment, rowsAt, { header, scorers });
  let i = end;
  const take = (count: number) => segment.ints.slice(i, (i += count));
  const removed = take(header.filterCount);
  const chosen = [...take(header.chosenCount)];
  const excluded = Array.from(take(header.excludedCount), (index) => segment.endpoint(index).id);
  const keys = Uint32Array.from(take(2 * header.keyCount));
  const result = readResult(segment, header);
  const reason = segment.text(header.dropReason);
  return {
    requestId,
    attempt: header.attempt,
    atMs: header.atMs,
    model: segment.text(header.model)!,
    tenant: segment.text(header.tenant)!,
    priority: header.priority,
    promptTokens: header.promptTokens,
    outputTokensMax: orNull(header.outputTokensMax),
    bodyBytes: header.bodyBytes,
    totalBlocks: header.totalBlocks,
    keys,
    keyStride: header.keyStride,
    configVersion: header.configVersion,
    scheduler: segment.scheduler,
    seed: header.seed,
    staleAfterMs: header.staleAfterMs,
    filters: Array.from(removed, (count, f) => ({
      type: profile.filters[f]!.name,
      removed: count,
    })),
    scorers,
    candidateCount: header.candidateCount,
    candidates,
    chosen,
    excluded,
    ...(reason === undefined
      ? {}
      : { dropped: { reason: reason as DropReason, detail: segment.text(header.dropDetail)! } }),
    ...(result === undefined ? {} : { result }),
  };
}

function readHeader({ floats, ints }: DecisionSegment, at: number): Header {
  const intsAt = 2 * (at + FLOAT_FIELDS.length);
  return Object.fromEntries([
    ...FLOAT_FIELDS.map((name, i) => [name, floats[at + i]!]),
    ...INT_FIELDS.map((name, i) => [name, ints[intsAt + i]!]),
  ]) as Header;
}

function readCandidates(
  segment: DecisionSegment,
  at: number,
  of: { readonly header: Header; readonly scorers: Scorers },
): { candidates: RecordedCandidate[]; end: number } {
  const { rowCount } = of.header;
  const scorerRunsAt = at + FLOAT_COLUMNS.length * rowCount;
  const intsAt = 2 * (scorerRunsAt + of.scorers.length * rowCount);
  const rowIntsAt = intsAt + INT_COLUMNS.length * rowCount;
  const candidates = Array.from({ length: rowCount }, (_, row): RecordedCandidate => {
    const rowInt = (run: number) => segment.ints[rowIntsAt + run * rowCount + row]!;
    const columns = Object.fromEntries([
      ...FLOAT_COLUMNS.map((name, c) => [name, segment.floats[at + c * rowCount + row]!]),
      ...INT_COLUMNS.map((name, c) => [name, segment.ints[intsAt + c * rowCount + row]!]),
    ]) as Record<ColumnName, number>;
    const scores = of.scorers.map((_, s) => segment.floats[scorerRunsAt + s * rowCount + row]!);
    const endpoint = segment.endpoint(rowInt(1));
    const isScored = rowInt(3) === -1 && of.header.chosenCount > 0;
    return {
      slot: rowInt(0),
      id: endpoint.id,
      address: endpoint.address,
      matchedBlocks: rowInt(2),
      removedBy: rowInt(3),
      columns,
      scores: isScored ? scores : [],
      total: isScored ? totalOf(scores, of.scorers) : Number.NaN,
    };
  });
  return { candidates, end: rowIntsAt + 4 * rowCount };
}

/** The same additions in the same order as SchedulingProfile, so the same total. */
function totalOf(scores: readonly number[], scorers: Scorers): number {
  return scores.reduce((total, score, s) => total + score * scorers[s]!.weight, 0);
}

function readResult(segment: DecisionSegment, header: Header): DecisionResult | undefined {
  const outcome = segment.text(header.resultOutcome);
  if (outcome === undefined) return undefined;
  return {
    endpoint: segment.text(header.resultEndpoint)!,
    outcome,
    ttftMs: orNull(header.resultTtftMs),
    promptTokens: orNull(header.resultPromptTokens),
    cachedTokens: orNull(header.resultCachedTokens),
    completionTokens: orNull(header.resultCompletionTokens),
  };
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

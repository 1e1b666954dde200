// Unpacks a record; see layout.ts for the form. Only when somebody asks.

import { type ResolvedProfile, resolveProfile, specsOfKind } from "../config/resolve.ts";
import {
  type ColumnName,
  type DecisionRecord,
  type DecisionResult,
  type QueueFacts,
  type RecordedCandidate,
  type RecordedRow,
  type RecordedRun,
  type ShadowChoice,
  STAGE_ROLES,
} from "./record.ts";
import { DECODE_ONLY, FLOAT_COLUMNS, INT_COLUMNS, STRANDED, unpackAdapters } from "./layout.ts";
import {
  type Header,
  type Headers,
  IntCursor,
  readHeaders,
  type RecordNumbers,
  type RunHeader,
  stretchesOf,
} from "./stretches.ts";
import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type { Endpoint } from "../model/endpoint-table.ts";
import type { DropReason } from "../outcome.ts";
import { NOT_SCREENED, SPARED } from "./rows.ts";
import { readVerdicts } from "./verdicts.ts";

/** Where a record is, with what it names by an index. */
export interface RecordSource extends RecordNumbers {
  readonly singles: Float32Array;
  readonly scheduler: SchedulerConfig;
  /** Undefined for NOTHING. */
  text(index: number): string | undefined;
  endpoint(index: number): Endpoint;
}

/** A run, and where its parts are. */
interface RunPlace {
  readonly header: RunHeader;
  readonly profile: ResolvedProfile;
  readonly removed: readonly number[];
  readonly terms: RecordedRun["terms"];
  readonly chosen: readonly number[];
  /** Index in `floats` of its scores. */
  readonly scoresAt: number;
  /** Index in `ints` of "removed by", which the terms follow. */
  readonly removedByAt: number;
}

/** The record at `at`, a place that a segment's `write` returned. */
export function readRecord(source: RecordSource, at: number, requestId: string): DecisionRecord {
  const headers = readHeaders(source, at);
  const { header } = headers;
  const { places, cursor, candidates } = readRows(source, headers);
  const verdicts = readVerdicts(cursor, header.verdictCount, source, (index) =>
    source.text(index)!,
  );
  const excluded = Array.from(
    cursor.take(header.excludedCount),
    (index) => source.endpoint(index).id,
  );
  const keys = Uint32Array.from(cursor.take(2 * header.keyCount));
  const result = readResult(source, header);
  const reason = source.text(header.dropReason);
  const shadow = readShadow(source, header);
  const queue = readQueue(source, header);
  return {
    requestId,
    attempt: header.attempt,
    atMs: header.atMs,
    model: source.text(header.model)!,
    tenant: source.text(header.tenant)!,
    priority: header.priority,
    promptTokens: header.promptTokens,
    outputTokensMax: orNull(header.outputTokensMax),
    bodyBytes: header.bodyBytes,
    ttftSloMs: orNull(header.ttftSloMs),
    tpotSloMs: orNull(header.tpotSloMs),
    totalBlocks: header.totalBlocks,
    keys,
    keyStride: header.keyStride,
    configVersion: header.configVersion,
    scheduler: source.scheduler,
    seed: header.seed,
    staleAfterMs: header.staleAfterMs,
    screeners: specsOfKind(source.scheduler, "screener").map(({ name }) => name),
    candidateCount: header.candidateCount,
    candidates,
    runs: places.map((place) => readRun(source, place, header.rowCount)),
    verdicts,
    ...(header.kvSource < 0 ? {} : { kvSource: source.endpoint(header.kvSource) }),
    excluded,
    ...(reason === undefined
      ? {}
      : { dropped: { reason: reason as DropReason, detail: source.text(header.dropDetail)! } }),
    ...(queue === undefined ? {} : { queue }),
    ...(shadow === undefined ? {} : { shadow }),
    ...(result === undefined ? {} : { result }),
  };
}

/** The candidates, where each run's parts are, and a cursor behind the last of them. */
function readRows(source: RecordSource, headers: Headers) {
  const { header, runHeaders, rowsAt } = headers;
  const { rowCount, isTiered, hasAdapters } = header;
  const { floats, ints, scheduler } = source;
  const { weightsAt, scoresOf, intsAt, plainAt, adaptersAt, removedByOf, tailAt } =
    stretchesOf(headers);
  const cursor = new IntCursor(ints, tailAt);
  const places = runHeaders.map((run, r): RunPlace => ({
    header: run,
    profile: resolveProfile(scheduler, scheduler.schedulingProfiles[run.profile]!.name),
    removed: [...cursor.take(run.filterCount)],
    terms: Array.from({ length: run.termCount }, () => ({
      scorer: cursor.next(),
      name: source.text(cursor.next())!,
    })),
    chosen: [...cursor.take(run.chosenCount)],
    scoresAt: scoresOf[r]!,
    removedByAt: removedByOf[r]!,
  }));
  const candidates = Array.from({ length: rowCount }, (_, row): RecordedCandidate => {
    const int = (stretch: number) => ints[plainAt + stretch * rowCount + row]!;
    const matchedBlocks = int(2);
    return {
      slot: int(0),
      endpoint: source.endpoint(int(1)),
      matchedBlocks,
      weightedBlocks: isTiered === 1 ? floats[weightsAt + row]! : matchedBlocks,
      columns: readColumns(source, { floatsAt: rowsAt + row, intsAt: intsAt + row, rowCount }),
      adapters: unpackAdapters(hasAdapters === 1 ? ints[adaptersAt + row]! : 0),
      screenedBy: Math.max(NOT_SCREENED, int(3)),
      isSpared: int(3) === SPARED,
    };
  });
  return { candidates, places, cursor };
}

interface ColumnPlace {
  readonly floatsAt: number;
  readonly intsAt: number;
  readonly rowCount: number;
}

function readColumns({ floats, ints }: RecordSource, place: ColumnPlace) {
  const columns = {} as Record<ColumnName, number>;
  let f = place.floatsAt;
  for (const name of FLOAT_COLUMNS) {
    columns[name] = floats[f]!;
    f += place.rowCount;
  }
  let i = place.intsAt;
  for (const name of INT_COLUMNS) {
    columns[name] = ints[i]!;
    i += place.rowCount;
  }
  return columns;
}

function readRun(source: RecordSource, place: RunPlace, rowCount: number): RecordedRun {
  const { header, profile, removed, terms, chosen } = place;
  const scorers = profile.scorers
    .slice(0, header.scorerCount)
    .map(({ plugin: { name, type }, weight }) => ({ name, type, weight }));
  const weights = scorers.map(({ weight }) => weight);
  // Where a record had no room for a run's scores, its totals are not known either.
  const hasTotals = weights.length === profile.scorers.length;
  return {
    profile: profile.name,
    role: STAGE_ROLES[header.role]!,
    filters: removed.map((count, f) => {
      const { name, type } = profile.filters[f]!;
      return { name, type, removed: count };
    }),
    scorers,
    terms,
    rows: Array.from({ length: rowCount }, (_, row): RecordedRow => {
      const removedBy = source.ints[place.removedByAt + row]!;
      const isScored = removedBy === -1 && chosen.length > 0;
      if (!isScored)
        return { removedBy: Math.max(-1, removedBy), scores: [], total: NaN, terms: [] };
      const scores = weights.map((_, s) => source.floats[place.scoresAt + s * rowCount + row]!);
      return {
        removedBy,
        scores,
        total: hasTotals ? totalOf(scores, weights) : Number.NaN,
        terms: terms.map((_, t) => source.singles[place.removedByAt + (1 + t) * rowCount + row]!),
      };
    }),
    chosen,
  };
}

/** The same additions in the same order as SchedulingProfile, so the same total. */
function totalOf(scores: readonly number[], weights: readonly number[]): number {
  return scores.reduce((total, score, s) => total + score * weights[s]!, 0);
}

function readShadow(source: RecordSource, header: Header): ShadowChoice | undefined {
  const reason = source.text(header.shadowReason);
  if (reason !== undefined) return { ok: false, reason: reason as DropReason };
  if (header.shadowEndpoint < 0) return undefined;
  return { ok: true, address: source.endpoint(header.shadowEndpoint).address };
}

function readQueue(source: RecordSource, header: Header): QueueFacts | undefined {
  const fairnessId = source.text(header.queueFairnessId);
  if (fairnessId === undefined) return undefined;
  const { queueWaitedMs: waitedMs, queuePriority: priority, queueSaturation: saturation } = header;
  const facts = { waitedMs, priority, fairnessId };
  return Number.isNaN(saturation) ? facts : { ...facts, saturation };
}

/** Nothing where prefill did not run apart, or nobody said. */
function readPrefill(source: RecordSource, header: Header): Pick<DecisionResult, "prefill"> {
  const outcome = source.text(header.resultPrefillOutcome);
  if (outcome === undefined) return {};
  const flags = header.resultPrefillFlags;
  const prefill = {
    endpoint: source.text(header.resultPrefillEndpoint) ?? null,
    outcome,
    prefillMs: header.resultPrefillMs,
    failedCount: header.resultPrefillFailed,
    isDecodeOnly: (flags & DECODE_ONLY) !== 0,
    isStranded: (flags & STRANDED) !== 0,
  };
  return { prefill };
}

function readResult(source: RecordSource, header: Header): DecisionResult | undefined {
  const outcome = source.text(header.resultOutcome);
  if (outcome === undefined) return undefined;
  return {
    endpoint: source.text(header.resultEndpoint)!,
    outcome,
    ttftMs: orNull(header.resultTtftMs),
    promptTokens: orNull(header.resultPromptTokens),
    cachedTokens: orNull(header.resultCachedTokens),
    completionTokens: orNull(header.resultCompletionTokens),
    predictedTokens: orNull(header.resultPredictedTokens),
    ...readPrefill(source, header),
  };
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

// Unpacks a record of a segment; see layout.ts for the form. Only when somebody asks.

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
import {
  DECODE_ONLY,
  FLOAT_COLUMNS,
  FLOAT_FIELDS,
  INT_COLUMNS,
  INT_FIELDS,
  RUN_FIELDS,
  STRANDED,
  unpackAdapters,
} from "./layout.ts";
import type { DecisionSegment } from "./segment.ts";
import type { DropReason } from "../outcome.ts";
import { NOT_SCREENED, SPARED } from "./rows.ts";
import { readVerdicts } from "./verdicts.ts";

type Header = Readonly<Record<(typeof FLOAT_FIELDS)[number] | (typeof INT_FIELDS)[number], number>>;
type RunHeader = Readonly<Record<(typeof RUN_FIELDS)[number], number>>;

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

/** Reads one number after another. */
class IntCursor {
  readonly #ints: Int32Array;
  at: number;

  constructor(ints: Int32Array, at: number) {
    this.#ints = ints;
    this.at = at;
  }

  next(): number {
    return this.#ints[this.at++]!;
  }

  take(count: number): Int32Array {
    return this.#ints.slice(this.at, (this.at += count));
  }
}

/** The record at `at`, a place that `segment.write` returned. */
export function readRecord(
  segment: DecisionSegment,
  at: number,
  requestId: string,
): DecisionRecord {
  const { header, runHeaders, rowsAt } = readHeaders(segment, at);
  const { places, cursor, candidates } = readRows(segment, { header, runHeaders, rowsAt });
  const verdicts = readVerdicts(cursor, header.verdictCount, segment, (index) =>
    segment.text(index)!,
  );
  const excluded = Array.from(
    cursor.take(header.excludedCount),
    (index) => segment.endpoint(index).id,
  );
  const keys = Uint32Array.from(cursor.take(2 * header.keyCount));
  const result = readResult(segment, header);
  const reason = segment.text(header.dropReason);
  const shadow = readShadow(segment, header);
  const queue = readQueue(segment, header);
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
    ttftSloMs: orNull(header.ttftSloMs),
    tpotSloMs: orNull(header.tpotSloMs),
    totalBlocks: header.totalBlocks,
    keys,
    keyStride: header.keyStride,
    configVersion: header.configVersion,
    scheduler: segment.scheduler,
    seed: header.seed,
    staleAfterMs: header.staleAfterMs,
    screeners: specsOfKind(segment.scheduler, "screener").map(({ name }) => name),
    candidateCount: header.candidateCount,
    candidates,
    runs: places.map((place) => readRun(segment, place, header.rowCount)),
    verdicts,
    ...(header.kvSource < 0 ? {} : { kvSource: segment.endpoint(header.kvSource) }),
    excluded,
    ...(reason === undefined
      ? {}
      : { dropped: { reason: reason as DropReason, detail: segment.text(header.dropDetail)! } }),
    ...(queue === undefined ? {} : { queue }),
    ...(shadow === undefined ? {} : { shadow }),
    ...(result === undefined ? {} : { result }),
  };
}

function readHeaders({ floats, ints }: DecisionSegment, at: number) {
  const cursor = new IntCursor(ints, 2 * (at + FLOAT_FIELDS.length));
  const header = Object.fromEntries([
    ...FLOAT_FIELDS.map((name, i) => [name, floats[at + i]!]),
    ...INT_FIELDS.map((name) => [name, cursor.next()]),
  ]) as Header;
  const runHeaders = Array.from(
    { length: header.runCount },
    () => Object.fromEntries(RUN_FIELDS.map((name) => [name, cursor.next()])) as RunHeader,
  );
  return { header, runHeaders, rowsAt: cursor.at / 2 };
}

interface Headers {
  readonly header: Header;
  readonly runHeaders: readonly RunHeader[];
  /** Index in `floats`. */
  readonly rowsAt: number;
}

/** The candidates, where each run's parts are, and a cursor behind the last of them. */
function readRows(segment: DecisionSegment, { header, runHeaders, rowsAt }: Headers) {
  const { rowCount, isTiered, hasAdapters } = header;
  const { ints } = segment;
  const weightsAt = rowsAt + FLOAT_COLUMNS.length * rowCount;
  let scoresAt = weightsAt + isTiered * rowCount;
  const scoresOf = runHeaders.map(({ scorerCount }) => {
    const at = scoresAt;
    scoresAt += scorerCount * rowCount;
    return at;
  });
  const intsAt = 2 * scoresAt;
  const plainAt = intsAt + INT_COLUMNS.length * rowCount;
  const adaptersAt = plainAt + 4 * rowCount;
  let removedByAt = adaptersAt + hasAdapters * rowCount;
  const removedByOf = runHeaders.map(({ termCount }) => {
    const at = removedByAt;
    removedByAt += (1 + termCount) * rowCount;
    return at;
  });
  const cursor = new IntCursor(ints, removedByAt);
  const places = runHeaders.map((run, r): RunPlace => ({
    header: run,
    profile: resolveProfile(
      segment.scheduler,
      segment.scheduler.schedulingProfiles[run.profile]!.name,
    ),
    removed: [...cursor.take(run.filterCount)],
    terms: Array.from({ length: run.termCount }, () => ({
      scorer: cursor.next(),
      name: segment.text(cursor.next())!,
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
      endpoint: segment.endpoint(int(1)),
      matchedBlocks,
      weightedBlocks: isTiered === 1 ? segment.floats[weightsAt + row]! : matchedBlocks,
      columns: readColumns(segment, { floatsAt: rowsAt + row, intsAt: intsAt + row, rowCount }),
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

function readColumns({ floats, ints }: DecisionSegment, place: ColumnPlace) {
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

function readRun(segment: DecisionSegment, place: RunPlace, rowCount: number): RecordedRun {
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
      const removedBy = segment.ints[place.removedByAt + row]!;
      const isScored = removedBy === -1 && chosen.length > 0;
      if (!isScored)
        return { removedBy: Math.max(-1, removedBy), scores: [], total: NaN, terms: [] };
      const scores = weights.map((_, s) => segment.floats[place.scoresAt + s * rowCount + row]!);
      return {
        removedBy,
        scores,
        total: hasTotals ? totalOf(scores, weights) : Number.NaN,
        terms: terms.map((_, t) => segment.singles[place.removedByAt + (1 + t) * rowCount + row]!),
      };
    }),
    chosen,
  };
}

/** The same additions in the same order as SchedulingProfile, so the same total. */
function totalOf(scores: readonly number[], weights: readonly number[]): number {
  return scores.reduce((total, score, s) => total + score * weights[s]!, 0);
}

function readShadow(segment: DecisionSegment, header: Header): ShadowChoice | undefined {
  const reason = segment.text(header.shadowReason);
  if (reason !== undefined) return { ok: false, reason: reason as DropReason };
  if (header.shadowEndpoint < 0) return undefined;
  return { ok: true, address: segment.endpoint(header.shadowEndpoint).address };
}

function readQueue(segment: DecisionSegment, header: Header): QueueFacts | undefined {
  const fairnessId = segment.text(header.queueFairnessId);
  if (fairnessId === undefined) return undefined;
  const { queueWaitedMs: waitedMs, queuePriority: priority, queueSaturation: saturation } = header;
  const facts = { waitedMs, priority, fairnessId };
  return Number.isNaN(saturation) ? facts : { ...facts, saturation };
}

/** Nothing where prefill did not run apart, or nobody said. */
function readPrefill(segment: DecisionSegment, header: Header): Pick<DecisionResult, "prefill"> {
  const outcome = segment.text(header.resultPrefillOutcome);
  if (outcome === undefined) return {};
  const flags = header.resultPrefillFlags;
  const prefill = {
    endpoint: segment.text(header.resultPrefillEndpoint) ?? null,
    outcome,
    prefillMs: header.resultPrefillMs,
    failedCount: header.resultPrefillFailed,
    isDecodeOnly: (flags & DECODE_ONLY) !== 0,
    isStranded: (flags & STRANDED) !== 0,
  };
  return { prefill };
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
    predictedTokens: orNull(header.resultPredictedTokens),
    ...readPrefill(segment, header),
  };
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

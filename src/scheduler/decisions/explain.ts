// A decision record as a document: who was considered, with what numbers, why the others lost, and
// everything that replay.ts needs to take the decision again. The object makes it, /admin/v1/explain
// answers it, the CLI reads it.
//
// An attempt shows the profile whose choice the request was sent by; other profiles that ran are its
// `stages`. Candidates are told once, and a stage says of each only what its profile made of it.

import type {
  BareAttempt,
  ExplainedCandidate,
  ExplainedPool,
  ExplainedQueue,
  ExplainedRow,
  ExplainedStage,
  ExplainedWhere,
  Explanation,
  WrittenAttempt,
} from "./document.ts";
import {
  COLUMN_NAMES,
  type DecisionRecord,
  type PluginLabel,
  type QueueFacts,
  type RecordedCandidate,
  type RecordedRun,
} from "./record.ts";

/** All attempts at one request. Undefined if no record of it is kept. */
export function explain(
  pool: string,
  records: readonly DecisionRecord[],
): Explanation<WrittenAttempt> | undefined {
  const first = records[0];
  if (first === undefined) return undefined;
  return { requestId: first.requestId, pool, attempts: records.map(explainAttempt) };
}

/** What is known of a request besides its records. */
export interface ExplainedRequest {
  readonly requestId: string;
  readonly pool: string;
  /** The attempt that was refused in the queue: it has no record. */
  readonly refused: BareAttempt | undefined;
  readonly pools: readonly ExplainedPool[] | undefined;
  /** Attempts that an isolate has decided on alone, as far as it has told. */
  readonly local?: readonly (WrittenAttempt | BareAttempt)[];
  /** Where an attempt was decided that is not among these; undefined where that is not known. */
  readonly decided?: (attempt: number) => ExplainedWhere | undefined;
}

/** The same with all that is known of the request. */
export function explainAll(
  { requestId, pool, refused, pools, local = [], decided }: ExplainedRequest,
  records: readonly DecisionRecord[],
): Explanation | undefined {
  if (records.length + local.length === 0 && refused === undefined) return undefined;
  // An isolate that was not answered in time decides itself: what was granted meanwhile was used by nobody.
  const isUsed = ({ attempt }: DecisionRecord) => local.every((one) => one.attempt !== attempt);
  const explained = records.filter(isUsed).map(explainAttempt);
  const others = [...explained, ...(refused === undefined ? [] : [refused])];
  const attempts = others.map((attempt) => withWhere(attempt, decided?.(attempt.attempt)));
  return {
    requestId,
    pool,
    attempts: [...local, ...attempts].sort((a, b) => a.attempt - b.attempt),
    ...(pools === undefined ? {} : { pools }),
  };
}

export function withWhere<Attempt extends BareAttempt>(
  attempt: Attempt,
  decided: ExplainedWhere | undefined,
): Attempt {
  return decided === undefined ? attempt : { ...attempt, decided };
}

/** One attempt. */
export function explainAttempt(record: DecisionRecord): WrittenAttempt {
  const main = record.runs.find(({ role }) => role === "primary") ?? record.runs[0];
  const shown = main === undefined ? undefined : explainRun(record, main);
  const others = record.runs.filter((run) => run !== main);
  const { shadow } = record;
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
    ...(shown === undefined ? {} : { profile: shown.profile, role: shown.role }),
    filters: shown?.filters ?? [],
    scorers: shown?.scorers ?? [],
    candidateCount: record.candidateCount,
    candidates: record.candidates
      .map((candidate, row) => candidateOf(record, candidate, shown?.rows[row]))
      .sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity)),
    chosen: record.dropped === undefined ? (shown?.chosen ?? []) : [],
    dropped: record.dropped ?? null,
    result: record.result ?? null,
    ...(record.verdicts.length === 0 ? {} : { verdicts: record.verdicts.map(verdictOf) }),
    ...(record.kvSource === undefined ? {} : { kvSource: record.kvSource.address }),
    ...(record.queue === undefined ? {} : { queue: queueOf(record.queue) }),
    outputTokensMax: record.outputTokensMax,
    bodyBytes: record.bodyBytes,
    ttftSloMs: record.ttftSloMs,
    tpotSloMs: record.tpotSloMs,
    excluded: [...record.excluded],
    keys: keysInHex(record.keys),
    keyStride: record.keyStride,
    ran: record.runs.map(({ profile }) => profile),
    ...(others.length === 0 ? {} : { stages: others.map((run) => stageOf(record, run)) }),
    ...(shadow === undefined
      ? {}
      : {
          shadow: shadow.ok
            ? { chosen: shadow.address, dropped: null }
            : { chosen: null, dropped: shadow.reason },
        }),
    scheduler: record.scheduler,
  };
}

function verdictOf({ stage, isApart, terms }: DecisionRecord["verdicts"][number]) {
  const told = Object.fromEntries(terms.map(({ name, value }) => [name, orNull(value)]));
  return { stage, isApart, terms: told };
}

export function queueOf({ saturation, ...facts }: QueueFacts): ExplainedQueue {
  return { ...facts, saturation: saturation === undefined ? null : finite(saturation) };
}

function keysInHex(keys: Uint32Array): string[] {
  const word = (index: number) => keys[index]!.toString(16).padStart(8, "0");
  // Low word first in memory, high word first in print.
  return Array.from({ length: keys.length / 2 }, (_, i) => word(2 * i + 1) + word(2 * i));
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

/** A run with a row for each of the record's candidates, in their order. */
interface ExplainedRun extends Omit<ExplainedStage, "candidates"> {
  readonly rows: readonly ExplainedRow[];
}

function stageOf(record: DecisionRecord, run: RecordedRun): ExplainedStage {
  const { rows, ...rest } = explainRun(record, run);
  return { ...rest, candidates: [...rows] };
}

function explainRun(record: DecisionRecord, run: RecordedRun): ExplainedRun {
  const terms = run.scorers.map((_, s) =>
    run.terms.flatMap((term, t) => (term.scorer === s ? t : [])),
  );
  const rows = record.candidates.map((candidate, row) => rowOf({ run, terms }, candidate, row));
  rankRows(run, rows);
  const winner = rows[run.chosen[0] ?? -1];
  for (const [i, row] of rows.entries()) {
    const { screenedBy, isSpared } = record.candidates[i]!;
    if (screenedBy >= 0) row.why = `screened out by ${record.screeners[screenedBy]!}`;
    else row.why = isSpared && row.total === null ? whySpared(row) : why({ run, row, winner });
  }
  return {
    profile: run.profile,
    role: run.role,
    filters: run.filters.map(({ removed, ...label }) => ({ ...labelOf(label), removed })),
    scorers: run.scorers.map(({ weight, ...label }) => ({ ...labelOf(label), weight })),
    rows,
    chosen: run.chosen.map((row) => record.candidates[row]!.endpoint.address),
  };
}

/** The name is told where it differs from the type. */
function labelOf({ name, type }: PluginLabel): { type: string; name?: string } {
  return name === type ? { type } : { type, name };
}

/** A run, and which of its terms belong to each scorer. */
interface RunTerms {
  readonly run: RecordedRun;
  readonly terms: readonly (readonly number[])[];
}

// A page of records makes thousands of these, while picks wait.
function rowOf({ run, terms }: RunTerms, { endpoint }: RecordedCandidate, row: number) {
  const { removedBy, scores, total, terms: values } = run.rows[row]!;
  const byName: Record<string, number | null> = {};
  for (const [s, { name }] of run.scorers.entries()) byName[name] = scores[s] ?? null;
  const explained: ExplainedRow = {
    id: endpoint.id,
    rank: null,
    total: orNull(total),
    scores: byName,
    why: "",
    removedBy: run.filters[removedBy]?.name ?? null,
  };
  if (values.length > 0) explained.terms = termsOf({ run, terms }, values);
  return explained;
}

/** By scorer, by term. */
function termsOf({ run, terms }: RunTerms, values: readonly number[]): ExplainedRow["terms"] {
  const byScorer: Record<string, Record<string, number | null>> = {};
  for (const [s, { name }] of run.scorers.entries()) {
    const own = terms[s]!;
    if (own.length === 0) continue;
    byScorer[name] = {};
    for (const t of own) byScorer[name][run.terms[t]!.name] = orNull(values[t]!);
  }
  return byScorer;
}

const NOT_SEEN = { rank: null, total: null, scores: {}, why: "no profile ran", removedBy: null };

function candidateOf(
  record: DecisionRecord,
  candidate: RecordedCandidate,
  row: ExplainedRow | undefined,
): ExplainedCandidate {
  const { columns, endpoint, screenedBy } = candidate;
  const { sampledAtMs } = columns;
  const screener = record.screeners[screenedBy] ?? null;
  const unseen = screener === null ? NOT_SEEN : { ...NOT_SEEN, why: `screened out by ${screener}` };
  return {
    id: endpoint.id,
    address: endpoint.address,
    queueDepth: columns.queueDepth,
    runningRequests: columns.runningRequests,
    kvUsage: columns.kvUsage,
    inFlightRequests: columns.inFlightRequests,
    inFlightTokens: columns.inFlightTokens,
    matchedBlocks: candidate.matchedBlocks,
    ageMs: Number.isFinite(sampledAtMs) ? record.atMs - sampledAtMs : null,
    ...(row ?? unseen),
    slot: candidate.slot,
    screenedBy: screener,
    ...(candidate.isSpared ? { isSpared: true as const } : {}),
    columns: finiteColumns(columns),
    weightedBlocks: candidate.weightedBlocks,
    engine: endpoint.engine,
    labels: { ...endpoint.labels },
    adapters: candidate.adapters,
  };
}

/** JSON has no infinity. -Infinity is a time that never was. */
function finite(value: number): number | null {
  return value === -Infinity || Number.isNaN(value) ? null : Math.min(value, Number.MAX_VALUE);
}

function finiteColumns(columns: RecordedCandidate["columns"]): Record<string, number | null> {
  const written: Record<string, number | null> = {};
  for (const name of COLUMN_NAMES) written[name] = finite(columns[name]);
  return written;
}

/** The chosen in their order, then the other scored candidates by total. */
function rankRows(run: RecordedRun, rows: ExplainedRow[]): void {
  const rest = rows
    .filter(({ total }, row) => total !== null && !run.chosen.includes(row))
    .sort((a, b) => b.total! - a.total!);
  const order = [...run.chosen.map((row) => rows[row]!), ...rest];
  order.forEach((row, index) => {
    row.rank = index + 1;
  });
}

function whySpared({ removedBy, rank }: ExplainedRow): string {
  if (typeof removedBy === "string") return `removed by ${removedBy}`;
  return rank === null
    ? "spared: left to other isolates or objects"
    : "spared: left to other isolates or objects; to fall back on";
}

function why(input: {
  readonly run: RecordedRun;
  readonly row: ExplainedRow;
  readonly winner: ExplainedRow | undefined;
}): string {
  const { run, row, winner } = input;
  if (typeof row.removedBy === "string") return `removed by ${row.removedBy}`;
  if (row === winner) return "chosen";
  if (winner === undefined || row.total === null || winner.total === null) return "not scored";
  if (row.total === winner.total) return "tied with the chosen; decided at random";
  let worst = { name: "", gap: 0 };
  for (const { name, weight } of run.scorers) {
    const gap = ((winner.scores[name] ?? 0) - (row.scores[name] ?? 0)) * weight;
    if (gap > worst.gap) worst = { name, gap };
  }
  if (worst.name === "") return "not drawn, though its total is as good";
  return `lost ${worst.gap.toFixed(2)} on ${worst.name}`;
}

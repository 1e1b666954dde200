// An explanation that was read from somewhere, checked until it can be replayed: nothing of it is
// trusted, and what is wrong is named by its path.

import type { z } from "zod";
import { schedulerConfigSchema } from "../config/schema.ts";
import type { SchedulerConfig } from "../config/scheduler-config.ts";
import {
  COLUMN_NAMES,
  type ColumnName,
  DECISION_LIMITS,
  type RecordedAdapters,
  type StageRole,
} from "./record.ts";
import {
  type ExplainedAttempt,
  type ExplainedCandidate,
  type ExplainedRow,
  explanationSchema,
  isQueueRefusal,
  isUnrecorded,
  nameOf,
} from "./document.ts";

export interface ReplayableCandidate {
  readonly slot: number;
  readonly id: string;
  readonly address: string;
  readonly engine: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly matchedBlocks: number;
  readonly weightedBlocks: number;
  readonly adapters: RecordedAdapters;
  readonly columns: Readonly<Record<ColumnName, number>>;
  readonly screenedBy: string | null;
  readonly isSpared?: true | undefined;
}

/** What a profile's plugins said. */
export interface ReplayableRun {
  readonly profile: string;
  readonly role: StageRole;
  /** Names of those that ran. */
  readonly filters: ReadonlySet<string>;
  readonly scorers: ReadonlySet<string>;
  /** By the candidate's id. */
  readonly rows: ReadonlyMap<string, ExplainedRow>;
  readonly chosen: readonly string[];
}

export interface ReplayableAttempt extends ExplainedAttempt {
  readonly scheduler: SchedulerConfig;
  readonly outputTokensMax: number | null;
  readonly bodyBytes: number;
  readonly keys: string[];
  readonly keyStride: number;
  readonly candidates: (ExplainedCandidate & ReplayableCandidate)[];
  /** In the order they ran. */
  readonly runs: readonly ReplayableRun[];
  /** Columns that the document does not have, and that are 0 here. */
  readonly absentColumns: readonly ColumnName[];
}

export interface ReplayableDocument {
  readonly requestId: string;
  readonly pool: string;
  /** At least one; not those that were refused in the queue, or decided at the edge without a record. */
  readonly attempts: readonly ReplayableAttempt[];
}

/** One mistake in a document. */
export interface DocumentIssue {
  /** e.g. `attempts[0].candidates[3].slot`; "" for the whole document. */
  readonly path: string;
  readonly message: string;
}

export type ParsedReplayable =
  | { readonly ok: true; readonly value: ReplayableDocument }
  | {
      readonly ok: false;
      readonly issues: readonly DocumentIssue[];
      /** All of it was decided at the edge, and none of it recorded. */
      readonly isUnrecorded?: true;
    };

const NOTHING_RECORDED =
  "has no record: the request was decided at the edge, which records some of its decisions only";
const NOTHING_DECIDED = "has no decision: the request was refused in the queue";
const TOO_OLD = "is missing: the Fairlead that wrote this did not record what a replay needs";

/**
 * Checks what `fairlead explain --json` printed, perhaps long ago, perhaps damaged since. `parse` reads
 * the schedulers in it: whoever reads many documents remembers those that were read.
 */
export function parseReplayable(
  input: unknown,
  parse: (input: unknown, at: string) => ParsedScheduler = parseScheduler,
): ParsedReplayable {
  const parsed = explanationSchema.safeParse(input);
  if (!parsed.success) return { ok: false, issues: issuesOf(parsed.error) };
  const { requestId, pool, attempts } = parsed.data;
  if (attempts.length === 0)
    return { ok: false, issues: [{ path: "attempts", message: "has no attempt" }] };
  const issues: DocumentIssue[] = [];
  const replayable = attempts.map((attempt, i) => {
    if (isQueueRefusal(attempt) || isUnrecorded(attempt)) return undefined;
    const path = `attempts[${i}]`;
    if (attempt.scheduler === undefined) {
      issues.push({ path: `${path}.scheduler`, message: TOO_OLD });
      return undefined;
    }
    const scheduler = parse(attempt.scheduler, `${path}.scheduler`);
    if (!scheduler.ok) issues.push(...scheduler.issues);
    return checkAttempt(attempt, { path, issues }, scheduler.ok ? scheduler.value : undefined);
  });
  if (issues.length > 0) return { ok: false, issues };
  const known = replayable.filter((attempt) => attempt !== undefined);
  if (attempts.every(isUnrecorded)) {
    const issue = { path: "attempts", message: NOTHING_RECORDED };
    return { ok: false, issues: [issue], isUnrecorded: true };
  }
  if (known.length === 0)
    return { ok: false, issues: [{ path: "attempts", message: NOTHING_DECIDED }] };
  return { ok: true, value: { requestId, pool, attempts: known } };
}

export type ParsedScheduler =
  | { readonly ok: true; readonly value: SchedulerConfig }
  | { readonly ok: false; readonly issues: readonly DocumentIssue[] };

/** The `scheduler` part of a configuration. `at` is its path in what was read. */
export function parseScheduler(input: unknown, at: string): ParsedScheduler {
  const parsed = schedulerConfigSchema.safeParse(input);
  if (parsed.success) return { ok: true, value: parsed.data };
  return { ok: false, issues: issuesOf(parsed.error, at) };
}

/** Adds what is wrong to `issues`; undefined when something is. */
function checkAttempt(
  attempt: ExplainedAttempt,
  { path, issues }: { readonly path: string; readonly issues: DocumentIssue[] },
  scheduler: SchedulerConfig | undefined,
): ReplayableAttempt | undefined {
  const before = issues.length;
  const report = (at: string, message: string) => issues.push({ path: `${path}.${at}`, message });
  checkCandidates(attempt, report);
  checkKeys(attempt, report);
  if (scheduler === undefined || issues.length > before) return undefined;
  const absentColumns = COLUMN_NAMES.filter((name) =>
    attempt.candidates.some(({ columns }) => columns?.[name] === undefined),
  );
  return {
    ...attempt,
    scheduler,
    outputTokensMax: attempt.outputTokensMax ?? null,
    bodyBytes: attempt.bodyBytes ?? 0,
    keys: attempt.keys ?? [],
    keyStride: attempt.keyStride ?? 1,
    candidates: attempt.candidates.map(completeCandidate),
    runs: runsOf(attempt, scheduler),
    absentColumns,
  };
}

/** What is shown of the attempt and its stages, in the order they ran. */
function runsOf(attempt: ExplainedAttempt, scheduler: SchedulerConfig): ReplayableRun[] {
  const { stages = [], ran } = attempt;
  const profile = attempt.profile ?? scheduler.schedulingProfiles[0]!.name;
  const hasRun = ran === undefined || ran.includes(profile);
  const role = attempt.role ?? (attempt.dropped === null ? "primary" : "none");
  const all = [...(hasRun ? [{ ...attempt, profile, role }] : []), ...stages];
  const order = ran ?? [profile];
  return all
    .map((run) => ({
      profile: run.profile,
      role: run.role,
      filters: new Set(run.filters.map(nameOf)),
      scorers: new Set(run.scorers.map(nameOf)),
      rows: new Map(run.candidates.map((row) => [row.id, row])),
      chosen: run.chosen,
    }))
    .sort((a, b) => order.indexOf(a.profile) - order.indexOf(b.profile));
}

type Report = (at: string, message: string) => void;

function checkCandidates(
  { candidates, chosen, candidateCount }: ExplainedAttempt,
  report: Report,
): void {
  if (candidates.length === 0) report("candidates", "has no candidate");
  if (candidates.length > DECISION_LIMITS.candidatesMax)
    report("candidates", `has more than ${DECISION_LIMITS.candidatesMax} candidates`);
  if (candidateCount < candidates.length)
    report("candidateCount", "is less than the candidates there are");
  const slots = new Set<number>();
  const ids = new Set<string>();
  for (const [i, { slot, columns, id }] of candidates.entries()) {
    if (ids.has(id)) report(`candidates[${i}].id`, "is another candidate's, too");
    ids.add(id);
    if (slot === undefined) report(`candidates[${i}].slot`, TOO_OLD);
    else if (slots.has(slot)) report(`candidates[${i}].slot`, "is another candidate's, too");
    else slots.add(slot);
    if (columns === undefined) report(`candidates[${i}].columns`, TOO_OLD);
  }
  const addresses = new Set(candidates.map(({ address }) => address));
  for (const [i, address] of chosen.entries())
    if (!addresses.has(address)) report(`chosen[${i}]`, "is no candidate's address");
}

function checkKeys(
  { keys = [], keyStride = 1, totalBlocks }: ExplainedAttempt,
  report: Report,
): void {
  if (keys.length > 0 && (keys.length - 1) * keyStride >= totalBlocks)
    report("keys", `has more keys than ${totalBlocks} blocks at a stride of ${keyStride}`);
}

const NO_ADAPTERS = { state: "absent", active: 0, waiting: 0 } as const;

/** Only for a candidate that passed checkCandidates. */
function completeCandidate(
  candidate: ExplainedCandidate,
): ExplainedCandidate & ReplayableCandidate {
  const { slot, columns, matchedBlocks } = candidate;
  const numberOf = (name: ColumnName) => {
    const value = columns?.[name];
    return value === null ? -Infinity : (value ?? 0);
  };
  return {
    ...candidate,
    slot: slot!,
    engine: candidate.engine ?? "",
    labels: candidate.labels ?? {},
    weightedBlocks: candidate.weightedBlocks ?? matchedBlocks,
    adapters: candidate.adapters ?? NO_ADAPTERS,
    screenedBy: candidate.screenedBy ?? null,
    columns: Object.fromEntries(COLUMN_NAMES.map((name) => [name, numberOf(name)])) as Record<
      ColumnName,
      number
    >,
  };
}

function issuesOf(error: z.ZodError, at = ""): DocumentIssue[] {
  return error.issues.map(({ path, message }) => ({
    path: path.reduce<string>(
      (text, key) =>
        typeof key === "number"
          ? `${text}[${key}]`
          : text === ""
            ? String(key)
            : `${text}.${String(key)}`,
      at,
    ),
    message,
  }));
}

// An explanation that was read from somewhere, checked until it can be replayed: nothing of it is
// trusted, and what is wrong is named by its path.

import type { z } from "zod";
import { schedulerConfigSchema } from "../config/schema.ts";
import type { SchedulerConfig } from "../config/scheduler-config.ts";
import { COLUMN_NAMES, type ColumnName, DECISION_LIMITS } from "./record.ts";
import { type ExplainedAttempt, type ExplainedCandidate, explanationSchema } from "./explain.ts";

export interface ReplayableCandidate {
  readonly slot: number;
  readonly id: string;
  readonly address: string;
  readonly matchedBlocks: number;
  readonly columns: Readonly<Record<ColumnName, number>>;
  readonly removedBy: string | null;
  readonly scores: Readonly<Record<string, number | null>>;
}

export interface ReplayableAttempt extends ExplainedAttempt {
  readonly scheduler: SchedulerConfig;
  readonly outputTokensMax: number | null;
  readonly bodyBytes: number;
  readonly keys: string[];
  readonly keyStride: number;
  readonly candidates: (ExplainedCandidate & ReplayableCandidate)[];
  /** Columns that the document does not have, and that are 0 here. */
  readonly absentColumns: readonly ColumnName[];
}

export interface ReplayableDocument {
  readonly requestId: string;
  readonly pool: string;
  /** At least one. */
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
  | { readonly ok: false; readonly issues: readonly DocumentIssue[] };

const TOO_OLD = "is missing: the Fairlead that wrote this did not record what a replay needs";

/** Checks what `fairlead explain --json` printed, perhaps long ago, perhaps damaged since. */
export function parseReplayable(input: unknown): ParsedReplayable {
  const parsed = explanationSchema.safeParse(input);
  if (!parsed.success) return { ok: false, issues: issuesOf(parsed.error) };
  const { requestId, pool, attempts } = parsed.data;
  if (attempts.length === 0)
    return { ok: false, issues: [{ path: "attempts", message: "has no attempt" }] };
  const issues: DocumentIssue[] = [];
  const replayable = attempts.map((attempt, i) => checkAttempt(attempt, `attempts[${i}]`, issues));
  if (issues.length > 0) return { ok: false, issues };
  const known = replayable.filter((attempt) => attempt !== undefined);
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
  path: string,
  issues: DocumentIssue[],
): ReplayableAttempt | undefined {
  const before = issues.length;
  const report = (at: string, message: string) => issues.push({ path: `${path}.${at}`, message });
  if (attempt.scheduler === undefined) {
    report("scheduler", TOO_OLD);
    return undefined;
  }
  const scheduler = parseScheduler(attempt.scheduler, `${path}.scheduler`);
  if (!scheduler.ok) issues.push(...scheduler.issues);
  checkCandidates(attempt, report);
  checkKeys(attempt, report);
  if (!scheduler.ok || issues.length > before) return undefined;
  const absentColumns = COLUMN_NAMES.filter((name) =>
    attempt.candidates.some(({ columns }) => columns?.[name] === undefined),
  );
  return {
    ...attempt,
    scheduler: scheduler.value,
    outputTokensMax: attempt.outputTokensMax ?? null,
    bodyBytes: attempt.bodyBytes ?? 0,
    keys: attempt.keys ?? [],
    keyStride: attempt.keyStride ?? 1,
    candidates: attempt.candidates.map(completeCandidate),
    absentColumns,
  };
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
  for (const [i, { slot, columns }] of candidates.entries()) {
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

/** Only for a candidate that passed checkCandidates. */
function completeCandidate(
  candidate: ExplainedCandidate,
): ExplainedCandidate & ReplayableCandidate {
  const { slot, columns, removedBy } = candidate;
  const numberOf = (name: ColumnName) => {
    const value = columns?.[name];
    return value === null ? -Infinity : (value ?? 0);
  };
  return {
    ...candidate,
    slot: slot!,
    removedBy: removedBy ?? null,
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

// Pages of a pool's decisions, newest first: those of its object and those of isolates, as they became known.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type { DecidedWhere } from "./decided-where.ts";
import type { BareAttempt, WrittenAttempt } from "./document.ts";
import { explainAttempt, withWhere } from "./explain.ts";
import type { KeptLocal, LocalDecisions } from "./local-decisions.ts";
import type { DecisionRing, KeptRecord } from "./ring.ts";

/** Bounds of a page: picks wait while it is made, about five milliseconds. */
export const PAGE_LIMITS = {
  decisionsMax: 256,
  /** Of them with candidates. */
  recordsMax: 32,
  /** No further record is read once this many candidates were. */
  candidatesMax: 256,
} as const;

/** What is kept of a pool's decisions. Records and local ones have numbers of one sequence. */
export interface KeptDecisions {
  readonly records: Pick<DecisionRing, "newest">;
  readonly local: Pick<LocalDecisions, "newest" | "has">;
  readonly where: Pick<DecidedWhere, "find">;
}

export interface PageQuery {
  readonly sinceMs: number;
  readonly count: number;
  /** A place that an earlier page gave; undefined: the newest. */
  readonly before?: number | undefined;
}

export interface PagedDecision {
  readonly requestId: string;
  /** `before` of a page that goes on behind it. */
  readonly number: number;
  readonly attempt: WrittenAttempt | BareAttempt;
  /** What decided; of one without a record, what was in force. */
  readonly scheduler: SchedulerConfig;
}

export interface DecisionsPage {
  readonly decisions: readonly PagedDecision[];
  /** `before` of the next page; undefined after the last. */
  readonly next: number | undefined;
}

export function pageOf(kept: KeptDecisions, { sinceMs, count, before }: PageQuery): DecisionsPage {
  const most = Math.min(count, PAGE_LIMITS.decisionsMax);
  const decisions: PagedDecision[] = [];
  let records = 0;
  let candidates = 0;
  for (const each of newest(kept, before)) {
    if (each.atMs < sinceMs) continue;
    const isFull =
      decisions.length === most ||
      records === PAGE_LIMITS.recordsMax ||
      candidates >= PAGE_LIMITS.candidatesMax;
    if (isFull) return { decisions, next: decisions.at(-1)!.number };
    const decision = read(each, kept);
    if (decision === undefined) continue;
    decisions.push(decision);
    const seen = decision.attempt.candidates.length;
    candidates += seen;
    if (seen > 0) records += 1;
  }
  return { decisions, next: undefined };
}

/** Both kinds in one order. */
function* newest(
  { records, local }: KeptDecisions,
  before: number | undefined,
): Generator<KeptRecord | KeptLocal> {
  const ways = [records.newest(before), local.newest(before)];
  const heads = ways.map((way) => way.next().value as KeptRecord | KeptLocal | undefined);
  for (;;) {
    const [record, decided] = heads.map((head) => head?.number ?? -1) as [number, number];
    const first = record > decided ? 0 : 1;
    const head = heads[first];
    if (head === undefined) return;
    yield head;
    heads[first] = ways[first]!.next().value as KeptRecord | KeptLocal | undefined;
  }
}

/** Undefined for one that nobody went by: see explainAll. */
function read(
  each: KeptRecord | KeptLocal,
  { local, where }: KeptDecisions,
): PagedDecision | undefined {
  const { requestId, number } = each;
  if ("scheduler" in each) {
    const { scheduler } = each;
    // Heard of while the pool was not configured.
    return scheduler && { requestId, number, attempt: each.read(), scheduler };
  }
  if (local.has(requestId, each.attempt)) return undefined;
  const attempt = withWhere(explainAttempt(each.read()), where.find(requestId, each.attempt));
  return { requestId, number, attempt, scheduler: attempt.scheduler };
}

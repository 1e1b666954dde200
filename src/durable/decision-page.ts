// Recorded decisions as an administrator reads them: newest first, page by page.

import type { WrittenAttempt } from "../scheduler/decisions/document.ts";
import { explainAttempt } from "../scheduler/decisions/explain.ts";
import type { DecisionRing } from "../scheduler/decisions/ring.ts";
import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import type { DecisionPage, DecisionQuery } from "./state.ts";

/** Bounds of a page: picks wait while it is made, about five milliseconds. */
export const PAGE_LIMITS = { decisionsMax: 32, candidatesMax: 256 } as const;

/** Schedulers are told once a page: decisions name theirs by its index. */
export function takePage(
  ring: DecisionRing,
  query: DecisionQuery,
  clock: Clock,
): Pick<DecisionPage, "oldestAtMs" | "next" | "schedulers" | "decisions"> {
  const { records, numbers, next } = ring.page({
    sinceMs: clock() - query.agoMs,
    count: Math.min(query.limit, PAGE_LIMITS.decisionsMax),
    candidatesMax: PAGE_LIMITS.candidatesMax,
    before: query.before,
  });
  const schedulers: SchedulerConfig[] = [];
  const decisions = records.map((record, i) => {
    const attempt = withIndex(explainAttempt(record), schedulers);
    return { requestId: record.requestId, number: numbers[i]!, attempt };
  });
  return { oldestAtMs: ring.oldestAtMs ?? null, next: next ?? null, schedulers, decisions };
}

function withIndex(attempt: WrittenAttempt, schedulers: SchedulerConfig[]) {
  let index = schedulers.indexOf(attempt.scheduler);
  if (index < 0) index = schedulers.push(attempt.scheduler) - 1;
  return { ...attempt, scheduler: index };
}

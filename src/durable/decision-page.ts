// Decisions as an administrator reads them: newest first, page by page.

import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import type { DecidedWhere } from "../scheduler/decisions/decided-where.ts";
import type { LocalDecisions } from "../scheduler/decisions/local-decisions.ts";
import { pageOf } from "../scheduler/decisions/pages.ts";
import type { DecisionRing } from "../scheduler/decisions/ring.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import type { DecisionPage, DecisionQuery } from "./state.ts";

interface KeptDecisions {
  readonly records: DecisionRing;
  readonly local: LocalDecisions;
  readonly where: DecidedWhere;
}

/** Schedulers are told once a page: decisions name theirs by its index. */
export function takePage(
  kept: KeptDecisions,
  { agoMs, limit: count, before }: DecisionQuery,
  clock: Clock,
): Pick<DecisionPage, "oldestAtMs" | "oldestLocalAtMs" | "next" | "schedulers" | "decisions"> {
  const page = pageOf(kept, { sinceMs: clock() - agoMs, count, before });
  const schedulers: SchedulerConfig[] = [];
  const decisions = page.decisions.map(({ requestId, number, attempt, scheduler }) => {
    let index = schedulers.indexOf(scheduler);
    if (index < 0) index = schedulers.push(scheduler) - 1;
    return { requestId, number, attempt: { ...attempt, scheduler: index } };
  });
  const { records, local } = kept;
  return {
    oldestAtMs: records.oldestAtMs ?? null,
    oldestLocalAtMs: local.oldestAtMs ?? null,
    next: page.next ?? null,
    schedulers,
    decisions,
  };
}

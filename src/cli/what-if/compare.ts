// One pool's decisions under another configuration.

import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import type { ReplayableAttempt } from "../../scheduler/decisions/replay-document.ts";
import type { WhatIfReport } from "../../scheduler/what-if/report.ts";
import { WhatIf } from "../../scheduler/what-if/what-if.ts";
import type { AdminClient } from "../admin-client.ts";
import type { AnsweredShards } from "../answered-shards.ts";
import { readDecisions, type Reach, type RecordedDecision } from "./decisions.ts";

/** A report, and what it rests on; also the form of `--json`. */
export interface PoolComparison extends WhatIfReport {
  /** Decisions that this code could not read, or not take again. */
  readonly unreadable: number;
  /** Decisions at the edge that cannot be compared, because whom else they considered is not on record. */
  readonly unrecorded: number;
  /** How far back the records of the pool's objects reach, where a deployment was asked. */
  readonly recordsSinceMs: number | null;
  /** The same of decisions at the edge. */
  readonly edgeSinceMs: number | null;
  readonly isCutShort: boolean;
  /** Absent where every object of the pool has answered. */
  readonly shards?: AnsweredShards;
}

/** Asks the deployment for its decisions of the last `sinceS` seconds. */
export async function comparePool(
  client: AdminClient,
  query: { readonly pool: string; readonly sinceS: number },
  other: SchedulerConfig,
): Promise<PoolComparison> {
  const reach: Reach = { oldestAtMs: null, oldestLocalAtMs: null, isCutShort: false };
  const compared = await compare(query.pool, readDecisions(client, query, reach), other);
  const { oldestAtMs: recordsSinceMs, oldestLocalAtMs: edgeSinceMs, isCutShort, shards } = reach;
  const since = { recordsSinceMs, edgeSinceMs };
  return { ...compared, ...since, isCutShort, ...(shards === undefined ? {} : { shards }) };
}

export async function compare(
  pool: string,
  decisions: AsyncIterable<RecordedDecision> | Iterable<RecordedDecision>,
  other: SchedulerConfig,
): Promise<PoolComparison> {
  const whatIf = new WhatIf(pool, other);
  let unreadable = 0;
  let unrecorded = 0;
  for await (const { requestId, attempt, isUnrecorded } of decisions) {
    if (isUnrecorded === true) unrecorded += 1;
    else if (attempt === undefined || !tryAdd(whatIf, requestId, attempt)) unreadable += 1;
    if (!whatIf.hasRoom) break;
  }
  const since = { recordsSinceMs: null, edgeSinceMs: null };
  return { ...whatIf.report(), unreadable, unrecorded, ...since, isCutShort: false };
}

/** A record that cannot be replayed leaves the others: it is only one fewer to compare by. */
function tryAdd(whatIf: WhatIf, requestId: string, attempt: ReplayableAttempt): boolean {
  try {
    whatIf.add(requestId, attempt);
    return true;
  } catch {
    // Damaged in a way that its schema allows, or beyond what the plugins of this release take.
    return false;
  }
}

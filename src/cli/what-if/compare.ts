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
  /** How far back the pool's records reach, where a deployment was asked. */
  readonly recordsSinceMs: number | null;
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
  const reach: Reach = { oldestAtMs: null, isCutShort: false };
  const compared = await compare(query.pool, readDecisions(client, query, reach), other);
  const { oldestAtMs: recordsSinceMs, isCutShort, shards } = reach;
  return { ...compared, recordsSinceMs, isCutShort, ...(shards === undefined ? {} : { shards }) };
}

export async function compare(
  pool: string,
  decisions: AsyncIterable<RecordedDecision> | Iterable<RecordedDecision>,
  other: SchedulerConfig,
): Promise<PoolComparison> {
  const whatIf = new WhatIf(pool, other);
  let unreadable = 0;
  for await (const { requestId, attempt } of decisions) {
    if (attempt === undefined || !tryAdd(whatIf, requestId, attempt)) unreadable += 1;
    if (!whatIf.hasRoom) break;
  }
  return { ...whatIf.report(), unreadable, recordsSinceMs: null, isCutShort: false };
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

// `fairlead config apply --require-what-if`: refuses a configuration that recorded decisions speak
// against.

import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import type { AdminClient } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import { comparePool } from "./compare.ts";
import { renderComparison } from "./report.ts";
import { schedulersOf } from "./schedulers.ts";

/** Fewer decisions tell too little. */
export const DECISIONS_MIN = 100;

export interface WhatIfRequirement {
  /** The deployment's configuration in force, and the one that is to be. */
  readonly before: unknown;
  readonly after: unknown;
  readonly sinceS: number;
  /** Lets a configuration pass that too few decisions can judge. */
  readonly allowsFewDecisions: boolean;
}

/**
 * Compares each pool whose scheduling changes, and prints the reports. Throws a CliError where one is
 * worse or cannot be judged. A pool that is new has no decisions to be compared by.
 */
export async function requireWhatIf(
  client: AdminClient,
  requirement: WhatIfRequirement,
  file: string,
): Promise<void> {
  const before = schedulersOf(requirement.before, "the configuration in force");
  const after = schedulersOf(requirement.after, file);
  const refusals: string[] = [];
  const changed = [...after].filter(([pool, scheduler]) => isChanged(before.get(pool), scheduler));
  if (changed.length === 0)
    process.stdout.write("No pool's scheduling changes: there is nothing to compare.\n");
  for (const [pool, scheduler] of changed) {
    const comparison = await comparePool(client, { pool, sinceS: requirement.sinceS }, scheduler);
    process.stdout.write(`${renderComparison(comparison)}\n`);
    const { decisions, verdict } = comparison;
    if (verdict === "worse") refusals.push(`pool ${pool} would be worse`);
    else if (decisions < DECISIONS_MIN && !requirement.allowsFewDecisions)
      refusals.push(
        `pool ${pool} has ${decisions} decisions on record, of the ${DECISIONS_MIN} that can tell ` +
          "(--allow-few-decisions takes fewer)",
      );
  }
  if (refusals.length > 0) throw new CliError(`${file} was not applied: ${refusals.join("; ")}.`);
}

function isChanged(before: SchedulerConfig | undefined, after: SchedulerConfig): boolean {
  return before !== undefined && JSON.stringify(before) !== JSON.stringify(after);
}

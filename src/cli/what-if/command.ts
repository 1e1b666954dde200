// `fairlead what-if`: what another configuration would have done with the requests there were.

import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import { adminClient, type AdminClient, ADMIN_FLAGS, ADMIN_FLAGS_USAGE } from "../admin-client.ts";
import { asInputError, InputError, UsageError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { poolNames } from "../config/get.ts";
import { durationFlag } from "../duration.ts";
import { parseFlags, positionals } from "../flags.ts";
import { compare, comparePool, type PoolComparison } from "./compare.ts";
import { readExplanations } from "./decisions.ts";
import { renderComparison } from "./report.ts";
import { type FileSchedulers, readSchedulers } from "./schedulers.ts";

const USAGE = `Usage: fairlead what-if --config FILE [--since 1h] [--pool NAME] [flags]
       fairlead what-if --config FILE --file EXPLANATIONS [--pool NAME]

Takes the decisions that a deployment has on record again, under the configuration in FILE: a whole
deployment's, or one pool's (kind EndpointPickerConfig). Nothing is changed anywhere. Prints how many
would have gone elsewhere, the predicted time to first token of both, what would have been found in
caches, how evenly requests would have been spread, and how well the prediction fits what was
measured. Each decision is taken as it was found: what the configuration would have done to loads and
caches before is not in it. Records are in memory: the report says how far back they reach. The edge
records a part of its decisions, up to some tens a second in a pool: the report says how many it could
not compare. With \`decide: consult\` the pool's objects decide, and record all.

Exits with 0 if the configuration is better or as good; with 1 if it is worse: slower or with fewer
cache hits by more than 5%, or refusing more; and with 2 if that cannot be told, whatever the reason.

  --config FILE      the other configuration
  --since TIME       compare decisions of the last 90s, 15m, 1h, … (default 1h)
  --pool NAME        only this pool
  --file FILE        compare what \`fairlead explain REQUEST_ID --json\` printed, one or an array
  --json             print the report as JSON
${ADMIN_FLAGS_USAGE}`;

const FLAGS = {
  ...ADMIN_FLAGS,
  config: { type: "string" },
  since: { type: "string", default: "1h" },
  pool: { type: "string" },
  file: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

export const whatIfCommand: Command = {
  usage: USAGE,
  async run(args) {
    const parsed = parseFlags(args, FLAGS);
    positionals(parsed.positionals, []);
    const { config, file, pool, json: isJson } = parsed.values;
    if (config === undefined) throw new UsageError("--config FILE is missing.");
    const sinceS = durationFlag("since", parsed.values.since);
    try {
      const schedulers = await readSchedulers(config);
      const comparisons =
        file === undefined
          ? await compareDeployment(adminClient(parsed.values), schedulers, { pool, sinceS })
          : await compareFile(file, schedulers, pool);
      process.stdout.write(
        isJson
          ? `${JSON.stringify({ pools: comparisons }, null, 2)}\n`
          : comparisons.map(renderComparison).join("\n"),
      );
      return exitCodeOf(comparisons);
    } catch (error) {
      throw asInputError(error, "The comparison could not be made");
    }
  },
};

/** The worst of them. */
function exitCodeOf(comparisons: readonly PoolComparison[]): number {
  if (comparisons.some(({ verdict }) => verdict === "worse")) return 1;
  return comparisons.some(({ verdict }) => verdict === "unknown") ? 2 : 0;
}

async function compareDeployment(
  client: AdminClient,
  schedulers: FileSchedulers,
  { pool, sinceS }: { readonly pool: string | undefined; readonly sinceS: number },
): Promise<PoolComparison[]> {
  const there = await poolNames(client);
  const chosen = choosePools(schedulers, there, pool);
  const comparisons: PoolComparison[] = [];
  // One after another: each asks the pool's object for page after page.
  for (const [name, scheduler] of chosen)
    comparisons.push(await comparePool(client, { pool: name, sinceS }, scheduler));
  return comparisons;
}

async function compareFile(
  file: string,
  schedulers: FileSchedulers,
  pool: string | undefined,
): Promise<PoolComparison[]> {
  const decisions = Map.groupBy(await readExplanations(file), (decision) => decision.pool);
  const chosen = choosePools(schedulers, [...decisions.keys()], pool);
  return Promise.all(
    [...chosen].map(([name, scheduler]) => compare(name, decisions.get(name)!, scheduler)),
  );
}

/** Pools that are there and that the file has a configuration for. */
function choosePools(
  schedulers: FileSchedulers,
  there: readonly string[],
  pool: string | undefined,
): Map<string, SchedulerConfig> {
  const list = there.join(", ");
  if (pool !== undefined && !there.includes(pool))
    throw new InputError(`There is no pool ${pool}; there are: ${list}.`);
  if ("one" in schedulers) {
    const [only] = there;
    const name = pool ?? (there.length === 1 ? only : undefined);
    if (name === undefined) throw new UsageError(`Say which pool with --pool: ${list}.`);
    return new Map([[name, schedulers.one]]);
  }
  const wanted = pool === undefined ? there : [pool];
  const chosen = wanted.flatMap((name) => {
    const scheduler = schedulers.byPool.get(name);
    return scheduler === undefined ? [] : [[name, scheduler] as const];
  });
  if (chosen.length === 0)
    throw new InputError(`The file configures none of the pools there are: ${wanted.join(", ")}.`);
  return new Map(chosen);
}

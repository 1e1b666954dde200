// `fairlead config apply`: a deployment's configuration, or one pool's scheduling, put in force.

import { z } from "zod";
import { findNotes } from "../../config/notes.ts";
import { type AdminClient, adminClient, ADMIN_FLAGS, errorMessage } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import { checkDeployment, readDocument } from "../deployment-file.ts";
import { durationFlag } from "../duration.ts";
import { parseFlags, positionals } from "../flags.ts";
import { requireWhatIf } from "../what-if/require.ts";
import { readStored, type Stored } from "./get.ts";
import { checkScheduler, isSchedulerDocument, printNotes } from "./scheduler-file.ts";

/** Answer of PUT /admin/v1/config. */
const appliedSchema = z.object({
  version: z.int(),
  pending: z.array(z.string()).default([]),
  notes: z.array(z.string()).default([]),
});

const APPLY_FLAGS = {
  ...ADMIN_FLAGS,
  "if-version": { type: "string" },
  pool: { type: "string" },
  "require-what-if": { type: "boolean", default: false },
  "allow-few-decisions": { type: "boolean", default: false },
  "accept-defaults": { type: "boolean", default: false },
  since: { type: "string", default: "1h" },
} as const;

/** What is put in force. */
interface Change {
  readonly document: unknown;
  /** The version it was made from: nothing is changed if another is in force by then. */
  readonly ifVersion: string | undefined;
  /** What is in force now, where the change was made from it. */
  readonly before?: Stored;
}

export async function apply(args: string[]): Promise<void> {
  const parsed = parseFlags(args, APPLY_FLAGS);
  const [file] = positionals(parsed.positionals, ["FILE"]);
  const { values } = parsed;
  const { pool, "if-version": ifVersion } = values;
  const document = await readDocument(file!);
  const client = () => adminClient(values);
  const change =
    pool === undefined
      ? wholeChange(document, file!, ifVersion)
      : await poolChange(document, file!, {
          client: client(),
          pool,
          ifVersion,
          acceptsDefaults: values["accept-defaults"],
        });
  const checked = values["require-what-if"]
    ? await requireComparison(values, change, file!)
    : change;
  await put(client(), checked, file!);
}

/**
 * Refuses a change for the worse; see what-if/require.ts. The change that is returned replaces the
 * version that it was compared with, and no other.
 */
async function requireComparison(
  flags: ReturnType<typeof parseFlags<typeof APPLY_FLAGS>>["values"],
  change: Change,
  file: string,
): Promise<Change> {
  const client = adminClient(flags);
  const sinceS = durationFlag("since", flags.since);
  const before = change.before ?? (await readStored(client));
  const ifVersion = versionToReplace(before, change.ifVersion, file);
  const allowsFewDecisions = flags["allow-few-decisions"];
  const { document } = change;
  const requirement = { before: before.config, after: document, sinceS, allowsFewDecisions };
  await requireWhatIf(client, requirement, file);
  return { document, ifVersion, before };
}

/** The version that was read, which has to be the wanted one. */
function versionToReplace({ version }: Stored, wanted: string | undefined, file: string): string {
  if (wanted === undefined || wanted === String(version)) return String(version);
  throw new CliError(`${file} was not applied: the version in force is ${version}, not ${wanted}.`);
}

function wholeChange(document: unknown, file: string, ifVersion: string | undefined): Change {
  if (isSchedulerDocument(document))
    throw new CliError(
      `${file} is an EndpointPickerConfig: say whose it is to be with --pool NAME, or put it ` +
        "under a pool's `scheduler` in a deployment's file.",
    );
  printNotes(findNotes(checkDeployment(document, file)));
  return { document, ifVersion };
}

interface PoolTarget {
  readonly client: AdminClient;
  readonly pool: string;
  readonly ifVersion: string | undefined;
  /** Whether other pools may lose scheduling that cannot be read. */
  readonly acceptsDefaults: boolean;
}

/** The configuration in force, with the document as the pool's `scheduler`. */
async function poolChange(document: unknown, file: string, target: PoolTarget): Promise<Change> {
  if (!isSchedulerDocument(document))
    throw new CliError(`${file} is not an EndpointPickerConfig, which is what --pool takes.`);
  const before = await readStored(target.client);
  const { version, config, pools } = before;
  const current = pools.find(({ name }) => name === target.pool);
  if (current === undefined) {
    const names = pools.map(({ name }) => name).join(", ");
    throw new CliError(
      `There is no pool ${target.pool} in version ${version}; there are: ${names}.`,
    );
  }
  const allowExperimentalPlugins = current["allowExperimentalPlugins"] === true;
  checkScheduler(document, file, { allowExperimentalPlugins });
  if (!target.acceptsDefaults) refuseRepairs(before, target.pool, file);
  const changed = pools.map((other) =>
    other === current ? { ...other, scheduler: document } : other,
  );
  return {
    document: { ...config, pools: changed },
    ifVersion: versionToReplace(before, target.ifVersion, file),
    before,
  };
}

/** What cannot be read there is kept as it is stored, for a release that can, until it is replaced. */
function refuseRepairs({ repaired }: Stored, pool: string, file: string): void {
  const others = repaired.filter((name) => name !== pool);
  if (others.length === 0) return;
  throw new CliError(
    `${file} was not applied: what is stored of the scheduling of ${others.join(", ")} cannot be read by ` +
      "this release, which uses the default instead. Applying would store the default. Give those " +
      "pools a scheduling first, or let them have the default with --accept-defaults.",
  );
}

async function put(client: AdminClient, change: Change, file: string): Promise<void> {
  const { document, ifVersion } = change;
  const answer = await client.call({
    method: "PUT",
    path: "/config",
    body: document,
    ...(ifVersion === undefined ? {} : { headers: { "if-match": `"${ifVersion}"` } }),
  });
  if (answer.status >= 300) throw new CliError(`${file} was not applied: ${errorMessage(answer)}`);
  const { version, pending, notes } = appliedSchema.parse(answer.body);
  process.stdout.write(
    `Version ${version} of the configuration is in use within about a second.\n`,
  );
  for (const note of notes) process.stderr.write(`note: ${note}\n`);
  if (pending.length > 0)
    process.stdout.write(`Not told yet, and tried again: pools ${pending.join(", ")}.\n`);
}

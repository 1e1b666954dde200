// `fairlead config apply`: a deployment's configuration, or one pool's scheduling, put in force.

import { z } from "zod";
import { findNotes } from "../../config/notes.ts";
import { type AdminClient, adminClient, ADMIN_FLAGS, errorMessage } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import { checkDeployment, readDocument } from "../deployment-file.ts";
import { durationFlag } from "../duration.ts";
import { parseFlags, positionals } from "../flags.ts";
import { requireWhatIf } from "../what-if/require.ts";
import { readStored } from "./get.ts";
import { checkScheduler, isSchedulerDocument, printNotes } from "./scheduler-file.ts";

/** Answer of PUT /admin/v1/config. */
const appliedSchema = z.object({ version: z.int(), pending: z.array(z.string()).default([]) });

const APPLY_FLAGS = {
  ...ADMIN_FLAGS,
  "if-version": { type: "string" },
  pool: { type: "string" },
  "require-what-if": { type: "boolean", default: false },
  "allow-few-decisions": { type: "boolean", default: false },
  since: { type: "string", default: "1h" },
} as const;

/** What is put in force. */
interface Change {
  readonly document: unknown;
  /** The version it was made from: nothing is changed if another is in force by then. */
  readonly ifVersion: string | undefined;
}

export async function apply(args: string[]): Promise<void> {
  const parsed = parseFlags(args, APPLY_FLAGS);
  const [file] = positionals(parsed.positionals, ["FILE"]);
  const { pool, "if-version": ifVersion } = parsed.values;
  const document = await readDocument(file!);
  const client = () => adminClient(parsed.values);
  const change =
    pool === undefined
      ? wholeChange(document, file!, ifVersion)
      : await poolChange(document, file!, { client: client(), pool, ifVersion });
  if (parsed.values["require-what-if"]) await requireComparison(parsed.values, change, file!);
  await put(client(), change, file!);
}

/** Refuses a change for the worse; see what-if/require.ts. */
async function requireComparison(
  flags: ReturnType<typeof parseFlags<typeof APPLY_FLAGS>>["values"],
  { document }: Change,
  file: string,
): Promise<void> {
  const client = adminClient(flags);
  const sinceS = durationFlag("since", flags.since);
  const { config } = await readStored(client);
  const allowsFewDecisions = flags["allow-few-decisions"];
  const requirement = { before: config, after: document, sinceS, allowsFewDecisions };
  await requireWhatIf(client, requirement, file);
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
}

/** The configuration in force, with the document as the pool's `scheduler`. */
async function poolChange(
  document: unknown,
  file: string,
  { client, pool, ifVersion }: PoolTarget,
): Promise<Change> {
  if (!isSchedulerDocument(document))
    throw new CliError(`${file} is not an EndpointPickerConfig, which is what --pool takes.`);
  const { version, config } = await readStored(client);
  const pools = poolsSchema.parse(config["pools"]);
  const target = pools.find(({ name }) => name === pool);
  if (target === undefined) {
    const names = pools.map(({ name }) => name).join(", ");
    throw new CliError(`There is no pool ${pool} in version ${version}; there are: ${names}.`);
  }
  checkScheduler(document, file, { allowExperimentalPlugins: target.allowExperimentalPlugins });
  const changed = pools.map((other) =>
    other === target ? { ...other, scheduler: document } : other,
  );
  return { document: { ...config, pools: changed }, ifVersion: ifVersion ?? String(version) };
}

const poolsSchema = z.array(
  z.looseObject({ name: z.string(), allowExperimentalPlugins: z.boolean().default(false) }),
);

async function put(client: AdminClient, change: Change, file: string): Promise<void> {
  const { document, ifVersion } = change;
  const answer = await client.call({
    method: "PUT",
    path: "/config",
    body: document,
    ...(ifVersion === undefined ? {} : { headers: { "if-match": `"${ifVersion}"` } }),
  });
  if (answer.status >= 300) throw new CliError(`${file} was not applied: ${errorMessage(answer)}`);
  const { version, pending } = appliedSchema.parse(answer.body);
  process.stdout.write(
    `Version ${version} of the configuration is in use within about a second.\n`,
  );
  if (pending.length > 0)
    process.stdout.write(`Not told yet, and tried again: pools ${pending.join(", ")}.\n`);
}

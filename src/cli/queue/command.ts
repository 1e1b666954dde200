// `fairlead queue`: what waits in a pool, now or for as long as one looks.

import { setTimeout as sleep } from "node:timers/promises";
import {
  adminClient,
  type AdminAnswer,
  type AdminClient,
  ADMIN_FLAGS,
  ADMIN_FLAGS_USAGE,
  errorMessage,
} from "../admin-client.ts";
import type { AnsweredShards } from "../answered-shards.ts";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { poolNames } from "../config/get.ts";
import { durationFlag } from "../duration.ts";
import { parseFlags, positionals } from "../flags.ts";
import { queueAnswerSchema, type ShownQueue } from "./answer.ts";
import { Screen } from "./screen.ts";
import { renderQueue } from "./table.ts";

const USAGE = `Usage: fairlead queue POOL [--once] [--json] [--interval 1s] [flags]

Shows what waits in a pool that has flow control: how full the pool is, its priority bands with their
ceilings and limits, who waited how long and why others were dropped, and the flows of each band with
what they were served in this minute and the last. The largest flows are shown one by one, the others
as one. On a terminal it redraws until Ctrl-C; elsewhere it appends.

  --once             look once
  --interval TIME    look every 1s, 5s, 1m, … (default 1s)
  --json             print the answers as they are, one a line
${ADMIN_FLAGS_USAGE}`;

const FLAGS = {
  ...ADMIN_FLAGS,
  once: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  interval: { type: "string", default: "1s" },
} as const;

interface Look {
  readonly body: unknown;
  readonly queue: ShownQueue;
  readonly shards: AnsweredShards | undefined;
}

export const queueCommand: Command = {
  usage: USAGE,
  async run(args) {
    const { values, positionals: given } = parseFlags(args, FLAGS);
    const [pool] = positionals(given, ["POOL"]);
    const intervalMs = 1_000 * durationFlag("interval", values.interval);
    const client = adminClient(values);
    const stop = new AbortController();
    const end = () => stop.abort();
    process.once("SIGINT", end).once("SIGTERM", end);
    // Whoever read a pipe has closed it.
    process.stdout.once("error", end);
    const show = values.json ? printJson : createTable(pool!);
    try {
      show(await look(client, pool!, stop.signal));
      if (!values.once) await watch({ client, pool: pool!, signal: stop.signal }, show, intervalMs);
    } catch (error) {
      // Whoever ended it has seen what they wanted.
      if (!stop.signal.aborted) throw error;
    } finally {
      process.off("SIGINT", end).off("SIGTERM", end);
    }
  },
};

interface Watch {
  readonly client: AdminClient;
  readonly pool: string;
  readonly signal: AbortSignal;
}

/** Until the signal: a deployment that does not answer for a while is asked again. */
async function watch(
  { client, pool, signal }: Watch,
  show: (look: Look) => void,
  intervalMs: number,
): Promise<void> {
  for (;;) {
    await sleep(intervalMs, undefined, { signal });
    try {
      show(await look(client, pool, signal));
    } catch (error) {
      if (signal.aborted || !(error instanceof CliError)) throw error;
      process.stderr.write(`${error.message}\n`);
    }
  }
}

async function look(client: AdminClient, pool: string, signal: AbortSignal): Promise<Look> {
  const path = `/pools/${encodeURIComponent(pool)}/queue`;
  const answer = await client.call({ method: "GET", path, signal });
  if (answer.status === 404) throw await notFound(client, pool);
  if (answer.status !== 200) throw new CliError(`${pool}: ${errorMessage(answer)}`);
  return readLook(pool, answer);
}

function readLook(pool: string, { body }: AdminAnswer): Look {
  const parsed = queueAnswerSchema.safeParse(body);
  if (!parsed.success)
    throw new CliError("The answer could not be read: is this fairlead as new as the deployment?");
  const { queue, shards, note = "Flow control is off." } = parsed.data;
  if (queue === null) throw new CliError(`${pool}: ${note}`);
  return { body, queue, shards };
}

async function notFound(client: AdminClient, pool: string): Promise<CliError> {
  const names = await poolNames(client);
  if (names.includes(pool))
    return new CliError(`${client.url} does not tell what waits: it is older than this fairlead.`);
  const list = names.length === 0 ? "none" : names.join(", ");
  return new CliError(`There is no pool ${pool}; there are: ${list}.`);
}

function printJson({ body }: Look): void {
  process.stdout.write(`${JSON.stringify(body)}\n`);
}

function createTable(pool: string): (look: Look) => void {
  const screen = new Screen(process.stdout);
  return ({ queue, shards }) => screen.show(renderQueue({ pool, queue, shards, at: new Date() }));
}

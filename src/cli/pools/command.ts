// `fairlead pools`: the pools of a deployment, and whether they get requests.

import {
  type AdminAnswer,
  type AdminClient,
  adminClient,
  ADMIN_FLAGS,
  ADMIN_FLAGS_USAGE,
  errorMessage,
} from "../admin-client.ts";
import { CliError, UsageError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { parseFlags, positionals } from "../flags.ts";
import { drainAnswerSchema, poolsAnswerSchema } from "./answer.ts";
import { renderPools } from "./table.ts";

const USAGE = `Usage: fairlead pools [--json] [flags]
       fairlead pools drain POOL [flags]
       fairlead pools undrain POOL [flags]

Lists the pools of a deployment as its directory knows them: what speaks the most against each (fresh:
nothing), its failover tier, when it was heard of last and how old its word on loads is, endpoints that
requests can be sent to of all there are, how full it is, and what waits there.

  drain POOL      send it no new requests; those it has go on. An edge with traffic knows within about two
                  seconds, another one with its first requests after at most five; one that cannot reach the
                  directory goes on sending for up to ten minutes
  undrain POOL    send it requests again

  --json          print the answer as it is
${ADMIN_FLAGS_USAGE}`;

const FLAGS = { ...ADMIN_FLAGS, json: { type: "boolean", default: false } } as const;
const ACTIONS = ["drain", "undrain"] as const;
type Action = (typeof ACTIONS)[number];

export const poolsCommand: Command = {
  usage: USAGE,
  async run(args) {
    const { values, positionals: given } = parseFlags(args, FLAGS);
    const [word, ...rest] = given;
    if (word === undefined) return list(adminClient(values), values.json);
    const action = ACTIONS.find((each) => each === word);
    if (action === undefined)
      throw new UsageError(`pools takes drain or undrain, or nothing, not "${word}".`);
    const [pool] = positionals(rest, ["POOL"]);
    await setDrained(adminClient(values), action, pool!);
  },
};

async function list(client: AdminClient, isJson: boolean): Promise<void> {
  const answer = await client.call({ method: "GET", path: "/pools" });
  // A deployment that has the path answers 200.
  if (answer.status === 404) throw tooOld(client);
  if (answer.status !== 200) throw new CliError(`${client.url}: ${errorMessage(answer)}`);
  const { pools } = parse(poolsAnswerSchema, answer);
  process.stdout.write(isJson ? `${JSON.stringify(answer.body)}\n` : renderPools(pools));
}

async function setDrained(client: AdminClient, action: Action, pool: string): Promise<void> {
  const path = `/pools/${encodeURIComponent(pool)}/${action}`;
  const answer = await client.call({ method: "POST", path });
  if (answer.status !== 200) throw new CliError(`${pool}: ${errorMessage(answer)}`);
  const { drained, changed, notes } = parse(drainAnswerSchema, answer);
  const now = drained ? "drained: it gets no new requests" : "not drained: it gets requests";
  process.stdout.write(`${pool} ${changed ? "is now" : "was already"} ${now}.\n`);
  for (const note of notes) process.stderr.write(`note: ${note}\n`);
}

function parse<Value>(
  schema: { safeParse(value: unknown): { readonly data?: Value | undefined } },
  { body }: AdminAnswer,
): Value {
  const { data } = schema.safeParse(body);
  if (data !== undefined) return data;
  throw new CliError("The answer could not be read: is this fairlead as new as the deployment?");
}

function tooOld({ url }: AdminClient): CliError {
  return new CliError(`${url} does not list its pools: it is older than this fairlead.`);
}

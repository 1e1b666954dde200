// `fairlead config get`: the configuration in force, without its secrets.

import { stringify } from "yaml";
import { z } from "zod";
import { type AdminClient, adminClient, ADMIN_FLAGS, errorMessage } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import { parseFlags, positionals } from "../flags.ts";

/** Answer of GET /admin/v1/config. */
const storedSchema = z.object({ version: z.int(), config: z.record(z.string(), z.unknown()) });

const poolsSchema = z.array(z.looseObject({ name: z.string() }));

export async function readStored(client: AdminClient): Promise<z.output<typeof storedSchema>> {
  const answer = await client.call({ method: "GET", path: "/config" });
  if (answer.status !== 200) throw new CliError(`${client.url}: ${errorMessage(answer)}`);
  return storedSchema.parse(answer.body);
}

/** Names of the deployment's pools. */
export async function poolNames(client: AdminClient): Promise<string[]> {
  const { config } = await readStored(client);
  return poolsSchema.parse(config["pools"]).map(({ name }) => name);
}

export async function get(args: string[]): Promise<void> {
  const parsed = parseFlags(args, { ...ADMIN_FLAGS, json: { type: "boolean", default: false } });
  positionals(parsed.positionals, []);
  const { version, config } = await readStored(adminClient(parsed.values));
  process.stdout.write(
    parsed.values.json
      ? `${JSON.stringify({ version, config }, null, 2)}\n`
      : `# version ${version}\n${stringify(config)}`,
  );
}

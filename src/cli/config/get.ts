// `fairlead config get`: the configuration in force, without its secrets.

import { stringify } from "yaml";
import { z } from "zod";
import { type AdminClient, adminClient, ADMIN_FLAGS, errorMessage } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import { parseFlags, positionals } from "../flags.ts";

/** Answer of GET /admin/v1/config. */
const storedSchema = z.object({
  version: z.int(),
  config: z.record(z.string(), z.unknown()),
  repaired: z.array(z.string()).default([]),
});
const poolsSchema = z.object({ pools: z.array(z.looseObject({ name: z.string() })) });

/**
 * The configuration in force, and its pools. `repaired`: pools whose stored scheduling the deployment
 * cannot read, or a part of it; `config` has the default in its place.
 */
export type Stored = z.output<typeof storedSchema> & z.output<typeof poolsSchema>;

export async function readStored(client: AdminClient): Promise<Stored> {
  const answer = await client.call({ method: "GET", path: "/config" });
  if (answer.status !== 200) throw new CliError(`${client.url}: ${errorMessage(answer)}`);
  const stored = storedSchema.safeParse(answer.body);
  const pools = poolsSchema.safeParse(stored.data?.config);
  if (stored.success && pools.success) return { ...stored.data, ...pools.data };
  throw new CliError(
    `The answer of ${client.url} is no configuration: is it a Fairlead, and this fairlead as new?`,
  );
}

/** Names of the deployment's pools. */
export async function poolNames(client: AdminClient): Promise<string[]> {
  const { pools } = await readStored(client);
  return pools.map(({ name }) => name);
}

export async function get(args: string[]): Promise<void> {
  const parsed = parseFlags(args, { ...ADMIN_FLAGS, json: { type: "boolean", default: false } });
  positionals(parsed.positionals, []);
  const { version, config, repaired } = await readStored(adminClient(parsed.values));
  if (repaired.length > 0)
    process.stderr.write(
      `note: what is stored of the scheduling of ${repaired.join(", ")} cannot be read by this release. ` +
        "The default, which is used instead, stands in its place here: applying this makes it last.\n",
    );
  process.stdout.write(
    parsed.values.json
      ? `${JSON.stringify({ version, config, ...(repaired.length > 0 ? { repaired } : {}) }, null, 2)}\n`
      : `# version ${version}\n${stringify(config)}`,
  );
}

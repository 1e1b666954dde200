// `fairlead config`: check a file, apply it, print what is applied.

import { stringify } from "yaml";
import { z } from "zod";
import { findNotes } from "../../config/notes.ts";
import { adminClient, ADMIN_FLAGS, ADMIN_FLAGS_USAGE, errorMessage } from "../admin-client.ts";
import { CliError, UsageError } from "../cli-error.ts";
import { parseFlags, positionals } from "../flags.ts";
import type { Command } from "../command.ts";
import { checkDeployment, readDeployment, readDocument } from "../deployment-file.ts";

const USAGE = `Usage: fairlead config check FILE
       fairlead config apply FILE [--if-version N] [flags]
       fairlead config get [--json] [flags]

check lists every mistake in a configuration file. apply gives it to a running deployment, which
uses it within about a second and needs no restart. get prints the configuration in use: secrets are
shown as <kept>, and apply takes <kept> to mean the one that is stored.

Flags of apply and get
  --if-version N     apply only if version N is the current one
  --json             print JSON instead of YAML
${ADMIN_FLAGS_USAGE}`;

/** Answers of PUT and GET /admin/v1/config. */
const appliedSchema = z.object({ version: z.int(), pending: z.array(z.string()).default([]) });
const storedSchema = z.object({ version: z.int(), config: z.record(z.string(), z.unknown()) });

export const configCommand: Command = {
  usage: USAGE,
  async run(args) {
    const [action, ...rest] = args;
    if (action === "check") await check(rest);
    else if (action === "apply") await apply(rest);
    else if (action === "get") await get(rest);
    else throw new UsageError(`config takes check, apply or get, not "${action ?? ""}".`);
  },
};

async function check(args: string[]): Promise<void> {
  const [file] = positionals(parseFlags(args, {}).positionals, ["FILE"]);
  const deployment = await readDeployment(file!);
  for (const { path, message } of findNotes(deployment))
    process.stderr.write(`note: ${path}: ${message}.\n`);
  const pools = count(deployment.pools, "pool");
  process.stdout.write(`${file} is good: ${pools}, ${count(deployment.tenants, "tenant")}.\n`);
}

function count(things: readonly unknown[], noun: string): string {
  return `${things.length} ${noun}${things.length === 1 ? "" : "s"}`;
}

async function apply(args: string[]): Promise<void> {
  const parsed = parseFlags(args, { ...ADMIN_FLAGS, "if-version": { type: "string" } });
  const [file] = positionals(parsed.positionals, ["FILE"]);
  const document = await readDocument(file!);
  checkDeployment(document, file!);
  const ifVersion = parsed.values["if-version"];
  const answer = await adminClient(parsed.values).call({
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

async function get(args: string[]): Promise<void> {
  const parsed = parseFlags(args, { ...ADMIN_FLAGS, json: { type: "boolean", default: false } });
  positionals(parsed.positionals, []);
  const client = adminClient(parsed.values);
  const answer = await client.call({ method: "GET", path: "/config" });
  if (answer.status !== 200) throw new CliError(`${client.url}: ${errorMessage(answer)}`);
  const { version, config } = storedSchema.parse(answer.body);
  process.stdout.write(
    parsed.values.json
      ? `${JSON.stringify({ version, config }, null, 2)}\n`
      : `# version ${version}\n${stringify(config)}`,
  );
}

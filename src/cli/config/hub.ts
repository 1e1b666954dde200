// `fairlead config hub`: llm-d's hub mode as a pool of a deployment.

import { randomBytes } from "node:crypto";
import { stringify } from "yaml";
import { hubPool } from "../../config/hub-mode.ts";
import { CliError, UsageError } from "../cli-error.ts";
import { describeIssues, readDocument } from "../deployment-file.ts";
import { parseFlags, positionals } from "../flags.ts";
import { checkScheduler, printNotes } from "./scheduler-file.ts";

const HUB_FLAGS = {
  pool: { type: "string", default: "hub" },
  region: { type: "string", default: "global" },
  model: { type: "string", multiple: true },
  scheme: { type: "string", default: "https" },
} as const;

export async function hub(args: string[]): Promise<void> {
  const parsed = parseFlags(args, HUB_FLAGS);
  const [file, clustersFile] = positionals(parsed.positionals, ["FILE", "CLUSTERS"]);
  const { pool: name, region, model: models, scheme } = parsed.values;
  if (models === undefined) throw new UsageError("--model is missing: a hub's file names none.");
  if (scheme !== "http" && scheme !== "https")
    throw new UsageError("--scheme takes http or https.");
  const document = await readDocument(file!);
  checkScheduler(document, file!, { allowExperimentalPlugins: true });
  const converted = hubPool(document, await readDocument(clustersFile!), { scheme });
  if (!converted.ok) {
    const [first] = converted.issues;
    const wrong = first?.path === "plugins" ? file : clustersFile;
    throw new CliError(describeIssues(converted.issues, `${wrong} has mistakes`));
  }
  printNotes(converted.notes.map((message) => ({ path: file!, message })));
  // No agent connects to such a pool; nobody is to guess its token all the same.
  const agentToken = randomBytes(24).toString("hex");
  const pool = { name, region, models, agentToken, ...converted.pool };
  const pools = stringify({ pools: [pool] }, { aliasDuplicateObjects: false });
  process.stdout.write(
    `# A pool for fairlead.yaml. Its upstreams may need an apiKey each.\n${pools}`,
  );
}

// `fairlead config check`: every mistake of a file, or what it comes to.

import { stringify } from "yaml";
import type { Deployment } from "../../config/deployment.ts";
import { findNotes } from "../../config/notes.ts";
import { effectiveScheduler } from "../../config/scheduling.ts";
import { checkDeployment, readDocument } from "../deployment-file.ts";
import { parseFlags, positionals } from "../flags.ts";
import { checkScheduler, isSchedulerDocument, printNotes } from "./scheduler-file.ts";

const CHECK_FLAGS = {
  json: { type: "boolean", default: false },
  "allow-experimental-plugins": { type: "boolean", default: false },
} as const;

export async function check(args: string[]): Promise<void> {
  const parsed = parseFlags(args, CHECK_FLAGS);
  const [file] = positionals(parsed.positionals, ["FILE"]);
  const { json: isJson, "allow-experimental-plugins": allowExperimentalPlugins } = parsed.values;
  const document = await readDocument(file!);
  if (isSchedulerDocument(document)) {
    const config = checkScheduler(document, file!, { allowExperimentalPlugins });
    print(isJson, config, `${file} is good; with everything filled in it says:`);
    return;
  }
  const deployment = checkDeployment(document, file!);
  printNotes(findNotes(deployment));
  const pools = count(deployment.pools, "pool");
  const summary = `${file} is good: ${pools}, ${count(deployment.tenants, "tenant")}.`;
  print(isJson, schedulersOf(deployment), summary);
}

/** Nothing else of a deployment has defaults worth showing, and nothing here is secret. */
function schedulersOf({ pools }: Deployment): object {
  return {
    pools: pools.map(({ name, scheduler }) => ({ name, scheduler: effectiveScheduler(scheduler) })),
  };
}

function print(isJson: boolean, value: object, summary: string): void {
  process.stdout.write(
    isJson
      ? `${JSON.stringify(value, null, 2)}\n`
      : `# ${summary}\n${stringify(value, { aliasDuplicateObjects: false })}`,
  );
}

function count(things: readonly unknown[], noun: string): string {
  return `${things.length} ${noun}${things.length === 1 ? "" : "s"}`;
}

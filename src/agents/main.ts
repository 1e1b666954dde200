// Starts one agent: `node src/agents/main.ts ROLE [flags]`. Dispatches only; every role parses its
// own flags in ROLE/command.ts, and is loaded only when asked for.

import { UsageError } from "./process/flags.ts";

const ROLES = ["simulator", "collector", "relay", "sidecar", "front", "link"] as const;
type Role = (typeof ROLES)[number];

const USAGE = `Usage: node src/agents/main.ts ROLE [flags]

Roles
  simulator   GPU-free inference engines
  collector   reads the engines' metrics and reports them to the pool's object
  relay       carries requests from the Worker to the engines
  sidecar     splits requests beside a decoder, in the place of llm-d's routing sidecar
  front       TCP front before workerd that passes a client's disconnect on
  link        TCP links with a round-trip time that can be cut, for runs on one machine

\`ROLE --help\` lists the flags of a role.
`;

interface Command {
  run(args: string[]): Promise<void>;
}

function isRole(name: string): name is Role {
  return (ROLES as readonly string[]).includes(name);
}

/** Ends the process with status 2, the convention for a wrong command line. */
function refuse(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

const [role = "", ...args] = process.argv.slice(2);
if (role === "--help" || role === "help") {
  process.stdout.write(USAGE);
} else if (!isRole(role)) {
  refuse(`${role === "" ? "No role given" : `Unknown role "${role}"`}.\n\n${USAGE}`);
} else {
  const command = (await import(`./${role}/command.ts`)) as Command;
  try {
    await command.run(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    refuse(`${error.message}\n\`node src/agents/main.ts ${role} --help\` lists the flags.`);
  }
}

// The `fairlead` command. Dispatches only: every command parses its own flags and is loaded only
// when asked for.

import { inspect } from "node:util";
import { CliError, describeError, UsageError } from "./cli-error.ts";
import type { Command } from "./command.ts";

const COMMANDS: Record<string, () => Promise<Command>> = {
  up: async () => (await import("./up/command.ts")).upCommand,
  explain: async () => (await import("./explain/command.ts")).explainCommand,
  queue: async () => (await import("./queue/command.ts")).queueCommand,
  pools: async () => (await import("./pools/command.ts")).poolsCommand,
  "what-if": async () => (await import("./what-if/command.ts")).whatIfCommand,
  replay: async () => (await import("./replay/command.ts")).replayCommand,
  chaos: async () => (await import("./chaos/command.ts")).chaosCommand,
  config: async () => (await import("./config/command.ts")).configCommand,
};

const USAGE = `Usage: fairlead COMMAND [flags]

Commands
  up                  run Fairlead on this machine, with simulated engines or your own
  explain REQUEST_ID  why a request went where it went
  replay FILE         take an explained decision again, here and now
  queue POOL          what waits in a pool, live
  pools               every pool and how it is; 'pools drain NAME' sends it no new requests
  what-if             what another configuration would have done with recent requests
  chaos ACTION TARGET cut, kill or slow a part of a local run, and see what clients see
  config check FILE   list every mistake in a configuration
  config apply FILE   give a running deployment a new configuration, without a restart
  config get          print the configuration of a running deployment
  help [COMMAND]      this text, or a command's flags
`;

async function main(args: string[]): Promise<number> {
  const [name = "help", ...rest] = args;
  const isHelp = name === "help" || name === "--help" || name === "-h";
  const load = COMMANDS[isHelp ? (rest[0] ?? "") : name];
  if (load === undefined) {
    if (isHelp && rest.length === 0) {
      process.stdout.write(USAGE);
      return 0;
    }
    process.stderr.write(`There is no command "${isHelp ? rest[0] : name}".\n\n${USAGE}`);
    return 2;
  }
  let command: Command | undefined;
  try {
    command = await load();
    if (isHelp || rest.includes("--help") || rest.includes("-h")) {
      process.stdout.write(command.usage);
      return 0;
    }
    return (await command.run(rest)) ?? 0;
  } catch (error) {
    return report(error, command?.usage ?? "");
  }
}

function report(error: unknown, usage: string): number {
  if (process.env["FAIRLEAD_DEBUG"] === "1" && error instanceof Error) {
    process.stderr.write(`${inspect(error)}\n`);
  } else if (error instanceof CliError) {
    process.stderr.write(`${error.message}\n`);
  } else {
    process.stderr.write(
      `fairlead failed unexpectedly: ${describeError(error)}. FAIRLEAD_DEBUG=1 shows where.\n`,
    );
  }
  if (error instanceof UsageError) process.stderr.write(`\n${usage}`);
  return error instanceof CliError ? error.exitCode : 1;
}

process.exitCode = await main(process.argv.slice(2));

// `node src/agents/main.ts simulator`: GPU-free inference engines.

import { parseFlags, PROCESS_FLAGS, UsageError } from "../process/flags.ts";
import { DRAIN_MS_MAX, runAgent } from "../process/run-agent.ts";
import { findContradictions, SIMULATOR_FLAGS } from "./parameters.ts";
import { startSimulator } from "./server.ts";

const USAGE = {
  role: "simulator",
  summary:
    "Engines without a GPU that speak vLLM's HTTP API and take its time. Flags are named as\n" +
    "llm-d-inference-sim and vLLM name them. A DURATION is 250us, 12ms or 1.5s; a plain number is\n" +
    "milliseconds.",
  flags: { ...SIMULATOR_FLAGS, ...PROCESS_FLAGS },
} as const;

/** The drain ends a little before the process would be cut off. */
const DRAIN_MARGIN_MS = 200;

export async function run(args: string[]): Promise<void> {
  const flags = parseFlags(USAGE, args);
  const mistakes = findContradictions(flags);
  if (mistakes.length > 0) throw new UsageError(mistakes.join("\n"));
  await runAgent({ ...flags, role: USAGE.role }, async (logger) => {
    const simulator = await startSimulator({ parameters: flags, logger });
    return {
      ready: simulator.ready,
      close: () => simulator.close(DRAIN_MS_MAX - DRAIN_MARGIN_MS),
    };
  });
}

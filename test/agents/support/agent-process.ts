// Runs an agent as the CLI does: a child process, its ready line on stdout, its log on stderr.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface AgentProcess {
  readonly child: ChildProcess;
  readonly ready: Record<string, unknown>;
  /** All that was written so far. */
  readonly output: { stdout: string; stderr: string };
  /** Resolves with the exit code; null after a signal. */
  readonly exited: Promise<number | null>;
}

export interface ExitedAgent {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Secrets of whoever runs the tests stay out of them. */
const BLANK = { FAIRLEAD_AGENT_TOKEN: "", FAIRLEAD_RELAY_KEYS: "" };

function launch(args: readonly string[], env: Record<string, string>) {
  const child = spawn(process.execPath, ["src/agents/main.ts", ...args], {
    env: { ...process.env, ...BLANK, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output.stderr += chunk.toString()));
  const exited = once(child, "close").then(([code]) => code as number | null);
  return { child, output, exited };
}

/** Runs an agent to its end. */
export async function runAgentProcess(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<ExitedAgent> {
  const { output, exited } = launch(args, env);
  return { code: await exited, ...output };
}

/** Starts an agent and waits for its ready line; rejects with its log if it ends before that. */
export async function startAgentProcess(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<AgentProcess> {
  const { child, output, exited } = launch(args, env);
  const lines = createInterface({ input: child.stdout });
  const line = await Promise.race([
    once(lines, "line").then(([text]) => text as string),
    exited.then((code) => {
      throw new Error(`exited with ${code}: ${output.stderr}`);
    }),
  ]);
  return { child, ready: JSON.parse(line) as Record<string, unknown>, output, exited };
}

// Scripts that run beside a benchmark.

import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The command line of Fairlead. */
export const FAIRLEAD = fileURLToPath(new URL("../src/cli/fairlead.mjs", import.meta.url));

export interface Started {
  readonly pid: number;
  /** What the first line of its stdout says. Rejects with its stderr if it ends before. */
  readonly ready: Promise<unknown>;
  /** Ends it and removes its folder. */
  readonly stop: () => Promise<void>;
}

/** Runs a script with this Node. It ends with us, however we end: its stdin closes then. */
export function start(
  dir: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Started {
  const child: ChildProcess = spawn(process.execPath, [...args], {
    stdio: "pipe",
    env: { ...process.env, ...env },
  });
  let stdout = "";
  let stderr = "";
  const ready = Promise.withResolvers<unknown>();
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    if (stdout.includes("\n")) ready.resolve(JSON.parse(stdout.slice(0, stdout.indexOf("\n"))));
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => {
      ready.reject(new Error(`${args[0]} ended: ${stderr}`));
      rmSync(dir, { recursive: true, force: true });
      resolve();
    });
  });
  const stop = () => {
    child.kill("SIGTERM");
    return ended;
  };
  return { pid: child.pid!, ready: ready.promise, stop };
}

// Scripts that run beside a benchmark.

import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The command line of Fairlead. */
export const FAIRLEAD = fileURLToPath(new URL("../src/cli/fairlead.mjs", import.meta.url));

/** In which what is told to stop may drain: agents take 5 s for it. */
const STOP_MS_MAX = 10_000;
/** In which it ends once its stdin has closed, and is killed outright after that. */
const LEFT_MS_MAX = 2_000;

export interface Started {
  readonly pid: number;
  /** What the first line of its stdout says. Rejects with its stderr if it ends before. */
  readonly ready: Promise<unknown>;
  /** Ends it and removes its folder. Resolves whatever it does: a run has an end. */
  readonly stop: (drainMsMax?: number) => Promise<void>;
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
  const stop = (drainMsMax = STOP_MS_MAX) => {
    child.kill("SIGTERM");
    // As if we had gone: a guard kills its program then, which a signal to the guard would leave running.
    const closing = setTimeout(() => child.stdin!.destroy(), drainMsMax);
    const killing = setTimeout(() => {
      child.kill("SIGKILL");
      // Others may hold their other ends.
      child.stdout!.destroy();
      child.stderr!.destroy();
    }, drainMsMax + LEFT_MS_MAX);
    return ended.finally(() => {
      clearTimeout(closing);
      clearTimeout(killing);
    });
  };
  return { pid: child.pid!, ready: ready.promise, stop };
}

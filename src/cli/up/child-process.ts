// One process that `fairlead up` runs: its log file, its ready line, its end.

import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { CliError } from "../cli-error.ts";

/** From start to ready line. Far more than any part needs; a machine can be busy. */
const READY_MS_MAX = 30_000;
/** A longer first line on stdout is not a ready line. */
const READY_LINE_CHARS_MAX = 64 * 1024;
/** How much of the end of a log is read for the lines to show. */
const LOG_TAIL_BYTES = 16 * 1024;
const LOG_LINES_SHOWN = 3;
/** As fairlead.mjs has it. A process whose modules are there starts in half the time. */
const COMPILE_CACHE_DIR = fileURLToPath(
  new URL("../../../node_modules/.cache/node-compile", import.meta.url),
);
const logLineSchema = z.object({
  msg: z.string(),
  err: z.object({ message: z.string() }).optional(),
});

/** The fields of a process's ready line. */
export type ReadyLine = Readonly<Record<string, unknown>>;

export interface ProcessSpec {
  /** Unique in a run; also the name of the log. */
  readonly name: string;
  /** TypeScript file and arguments; run by this same Node. Never holds a secret. */
  readonly args: readonly string[];
  /** Added to the environment: where secrets go. */
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** Unix sockets that it makes. */
  readonly sockets?: readonly string[];
  /**
   * Only other processes of the run ask it anything. With its like it may wait for ever for one another to end,
   * so a stop kills it when the others are gone.
   */
  readonly endsLast?: boolean;
  /**
   * The arguments of a restart, which name the ports that the first start was given by the system.
   * Absent: the same as at first.
   */
  readonly argsAgain?: (ready: ReadyLine) => readonly string[];
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** The fields of the ready line. Rejects with what to tell the user if there is none. */
  readonly ready: Promise<ReadyLine>;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
}

/**
 * Starts a process in a group of its own, so that a Ctrl-C in the terminal reaches only us. Its stdin
 * is a pipe that closes when this process ends, however it ends.
 */
export function startProcess(spec: ProcessSpec, log: "begin" | "append" = "begin"): RunningProcess {
  if (log === "begin") closeSync(openSync(spec.logFile, "w", 0o600));
  const appended = openSync(spec.logFile, "a");
  const child = spawn(process.execPath, [...spec.args], {
    stdio: ["pipe", "pipe", appended],
    env: { ...inheritedEnvironment(), ...spec.env },
    detached: true,
  });
  closeSync(appended);
  child.stdin!.on("error", () => {
    // The process ended before us; `exited` tells.
  });
  const exited = new Promise<Exit>((resolve) => {
    child.once("exit", (code, signal) => {
      // A guard that was killed leaves its program behind; it is in the same group.
      killGroup(child.pid);
      resolve({ code, signal });
    });
    child.once("error", () => resolve({ code: null, signal: null }));
  });
  const ready = readyLine(child, spec, exited);
  // Whoever waits for it sees the failure; nobody has to.
  ready.catch(() => {});
  return {
    name: spec.name,
    pid: child.pid ?? 0,
    logFile: spec.logFile,
    ready,
    exited,
    signal(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      // SIGKILL cannot be passed on by a guard, so it goes to the whole group.
      if (signal === "SIGKILL") killGroup(child.pid);
      else child.kill(signal);
    },
  };
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // ESRCH: nobody is left in it.
  }
}

/** Our own variables are for us: a child gets only those it is given, and a place for what V8 makes of its modules. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("FAIRLEAD_")),
  );
  return { NODE_COMPILE_CACHE: COMPILE_CACHE_DIR, ...inherited };
}

function readyLine(
  child: ChildProcess,
  spec: ProcessSpec,
  exited: Promise<Exit>,
): Promise<ReadyLine> {
  return new Promise((resolve, reject) => {
    const fail = (message: string) => {
      clearTimeout(timer);
      reject(new CliError(message));
    };
    const timer = setTimeout(() => {
      const seconds = READY_MS_MAX / 1000;
      fail(`${spec.name} was not ready after ${seconds} seconds.\n${describeLog(spec.logFile)}`);
    }, READY_MS_MAX);
    let text = "";
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      // What follows the ready line is read and dropped, so that the pipe never fills.
      if (text.length > READY_LINE_CHARS_MAX || text.includes("\n")) return;
      text += chunk;
      if (!text.includes("\n")) return;
      clearTimeout(timer);
      const line = text.slice(0, text.indexOf("\n"));
      try {
        resolve(JSON.parse(line) as ReadyLine);
      } catch {
        fail(`${spec.name} printed something else than its ready line: ${line.slice(0, 200)}`);
      }
    });
    void exited.then((exit) => fail(describeEnd(spec, exit)));
  });
}

/** One line's worth of how a process ended, after its name. */
export function describeExit(exit: Exit): string {
  if (exit.signal !== null) return `ended by ${exit.signal}`;
  return exit.code === null ? "could not be started" : `ended with status ${exit.code}`;
}

/** What to tell the user about a process that ended unasked: how, what it said last, and where. */
export function describeEnd(spec: { name: string; logFile: string }, exit: Exit): string {
  return `${spec.name} ${describeExit(exit)}.\n${describeLog(spec.logFile)}`;
}

/** The last lines of a log and where the rest is. */
function describeLog(file: string): string {
  const lines = lastLines(file).map((line) => `  ${describeLine(line)}\n`);
  return `${lines.join("")}Its log is ${file}`;
}

function lastLines(file: string): string[] {
  try {
    const { size } = statSync(file);
    const bytes = Buffer.alloc(Math.min(size, LOG_TAIL_BYTES));
    const descriptor = openSync(file, "r");
    readSync(descriptor, bytes, 0, bytes.length, size - bytes.length);
    closeSync(descriptor);
    const text = bytes.toString("utf8").trim();
    return text === "" ? [] : text.split("\n").slice(-LOG_LINES_SHOWN);
  } catch {
    // No log at all; its path still says where it should be.
    return [];
  }
}

/** The message of an agent's JSON line, with the error's; any other line as it is. */
function describeLine(line: string): string {
  const parsed = logLineSchema.safeParse(parseJson(line));
  if (!parsed.success) return line;
  const { msg, err } = parsed.data;
  return err === undefined ? msg : `${msg}: ${err.message}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

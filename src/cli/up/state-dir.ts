// The state directory of `fairlead up`: secrets and Durable Object storage, which outlive a run, and
// logs, generated files and the lock of the run itself.
//
//   keys.json       0600; made once, then kept
//   storage/        SQLite files of the Durable Objects, or of the first coordinator's
//   storage-N/      those of coordinator N
//   logs/NAME.log   one per process, begun anew at each start
//   generated/      Worker bundle, workerd configurations, endpoint files
//   running.json    who holds the directory: process id, URL, socket folder, and its parts' process
//                   ids and admin ports by name, written anew whenever a part was started again; and
//                   what each cluster consists of. No secrets

import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { CliError, describeError } from "../cli-error.ts";
import { clusterSchema } from "./running-cluster.ts";

export const STATE_DIR_DEFAULT = ".fairlead";
/** In the state directory. */
export const RUNNING_FILE = "running.json";
const SOCKET_DIR_PREFIX = "fairlead-";

const keysSchema = z.object({
  /** The key of the one tenant of the default configuration. */
  key: z.string().min(16),
  adminKey: z.string().min(16),
  agentToken: z.string().min(16),
  relaySecret: z.string().min(16),
});
export type Keys = z.output<typeof keysSchema>;

const runningSchema = z.object({
  pid: z.int().positive(),
  /** Empty until the front listens. */
  url: z.string(),
  socketDir: z.string(),
  /** Of the parts, by name; empty until all of them run. */
  pids: z.record(z.string(), z.int().positive()).default({}),
  /** Of the parts that serve /health and /metrics on a loopback port of their own, by name. */
  adminPorts: z.record(z.string(), z.int().positive()).default({}),
  /** Empty where the run has no clusters. */
  clusters: z.array(clusterSchema).default([]),
});
export type Running = z.output<typeof runningSchema>;

export interface StateDir {
  readonly path: string;
  readonly keys: Keys;
  readonly logsDir: string;
  readonly generatedDir: string;
  /** A folder of its own for unix sockets: the state directory's path may be too long. */
  readonly socketDir: string;
  /** Where the front finds workerd. */
  readonly socketPath: string;
  /** Where this run takes orders about its own processes. */
  readonly controlPath: string;
  /** Makes the folder of a coordinator's SQLite files; 0 is also that of an unsplit workerd. */
  storageDir(ordinal: number): string;
  /** Lets `fairlead explain` and `config` find this run, and operators its parts. Again: replaces. */
  announce(parts: Omit<Running, "pid" | "socketDir">): void;
  /** Gives the directory back. Keys, storage and logs stay. */
  release(): void;
}

/** Makes the directory if needed and takes it for this process; refuses if another one holds it. */
export function openStateDir(dir: string): StateDir {
  const path = resolve(dir);
  const subfolders = ["logs", "generated", "storage"].map((name) => join(path, name));
  try {
    subfolders.forEach(makePrivate);
  } catch (error) {
    throw new CliError(`Cannot write to the state directory ${path}: ${describeError(error)}.`);
  }
  const [logsDir, generatedDir, storageDir] = subfolders as [string, string, string];
  const socketDir = mkdtempSync(join(tmpdir(), SOCKET_DIR_PREFIX));
  const runningFile = join(path, RUNNING_FILE);
  const removeSocketDir = () => rmSync(socketDir, { recursive: true, force: true });
  const release = () => {
    removeSocketDir();
    rmSync(runningFile, { force: true });
  };
  try {
    takeOver(runningFile, {
      pid: process.pid,
      url: "",
      socketDir,
      pids: {},
      adminPorts: {},
      clusters: [],
    });
  } catch (error) {
    removeSocketDir();
    throw error;
  }
  try {
    return {
      path,
      keys: readOrCreateKeys(join(path, "keys.json")),
      logsDir,
      generatedDir,
      socketDir,
      socketPath: join(socketDir, "workerd.sock"),
      controlPath: controlPathIn(socketDir),
      storageDir(ordinal) {
        const folder = ordinal === 0 ? storageDir : `${storageDir}-${ordinal}`;
        makePrivate(folder);
        return folder;
      },
      announce: (parts) => writeJson(runningFile, { pid: process.pid, socketDir, ...parts }),
      release,
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** Of the run whose sockets are in this folder. */
export function controlPathIn(socketDir: string): string {
  return join(socketDir, "up.sock");
}

function makePrivate(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
}

/** Writes the lock. One that a killed process left behind is removed, with its socket folder. */
function takeOver(file: string, mine: Running): void {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(file, JSON.stringify(mine), { mode: 0o600, flag: "wx" });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const other = readRunning(file);
    if (other !== undefined && isAlive(other.pid)) {
      throw new CliError(
        `Fairlead is already running with this state directory (process ${other.pid}` +
          `${other.url === "" ? "" : `, ${other.url}`}). Stop it, or use --state-dir and --port for ` +
          `a second one. If process ${other.pid} is something else, remove ${file}.`,
      );
    }
    if (other !== undefined) rmSync(other.socketDir, { recursive: true, force: true });
    rmSync(file, { force: true });
  }
  throw new CliError(`Another process keeps writing ${file}. Try again.`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Alive, but somebody else's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function readOrCreateKeys(file: string): Keys {
  if (existsSync(file)) {
    const keys = readKeys(file);
    if (keys !== undefined) return keys;
    throw new CliError(`${file} is damaged. Remove it to get new keys.`);
  }
  const secret = (prefix: string) => `${prefix}-${randomBytes(24).toString("base64url")}`;
  const keys: Keys = {
    key: secret("sk-fairlead"),
    adminKey: secret("admin"),
    agentToken: secret("agent"),
    relaySecret: secret("relay"),
  };
  writeJson(file, keys);
  return keys;
}

/** The keys of a state directory that another process may hold; undefined if there are none. */
export function readKeys(file: string): Keys | undefined {
  return keysSchema.safeParse(readJson(file)).data;
}

/** Who holds a state directory; undefined if nobody does. */
export function readRunning(file: string): Running | undefined {
  const running = runningSchema.safeParse(readJson(file)).data;
  // A socket folder is removed with everything in it: believe only a name that we give.
  return running?.socketDir.startsWith(join(tmpdir(), SOCKET_DIR_PREFIX)) ? running : undefined;
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    // Missing, unreadable, or half written by a process that was killed: all mean "none".
    return undefined;
  }
}

/** Whoever reads the file meanwhile sees the old text or the new one, never a part. */
function writeJson(file: string, value: Keys | Running): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

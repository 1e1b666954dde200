// `fairlead up` as a user runs it, for tests: a child process, its ready line, its state directory.

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { findFreePort } from "../../src/cli/up/ports.ts";

export const BIN = fileURLToPath(new URL("../../src/cli/fairlead.mjs", import.meta.url));
const AGENTS = fileURLToPath(new URL("../../src/agents/main.ts", import.meta.url));
/** Tests run simulated time this much faster. */
export const TIME_SCALE = 0.05;
const EXIT_MS_MAX = 10_000;

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running command of the CLI. */
export interface Invocation {
  readonly child: ChildProcess;
  /** Resolves with the first line of stdout; rejects with stderr if there is none. */
  readonly firstLine: Promise<string>;
  readonly finished: Promise<Finished>;
}

/** Starts the CLI. It ends with the test process, however that ends. */
export function invoke(args: readonly string[], env: Record<string, string> = {}): Invocation {
  return run([BIN, ...args], env);
}

function run(args: readonly string[], env: Record<string, string>): Invocation {
  const child = spawn(process.execPath, [...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let stdout = "";
  let stderr = "";
  const line = Promise.withResolvers<string>();
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
    if (stdout.includes("\n")) line.resolve(stdout.slice(0, stdout.indexOf("\n")));
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  const finished = new Promise<Finished>((resolve) => {
    child.on("close", (code) => {
      line.reject(new Error(`ended with status ${code}: ${stderr}`));
      resolve({ code, stdout, stderr });
    });
  });
  line.promise.catch(() => {});
  return { child, firstLine: line.promise, finished };
}

/** Runs a command of the CLI to its end. */
export async function fairlead(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Finished> {
  return invoke(args, env).finished;
}

/** One endpoint of an engine process, as its ready line tells. */
export interface Engines {
  readonly origins: readonly string[];
  readonly child: ChildProcess;
}

/** Simulated engines of their own process, which a test may kill. */
export async function startEngines(count: number, ...args: string[]): Promise<Engines> {
  const flags = { engines: count, port: 0, "time-scale": TIME_SCALE, model: "fairlead-sim" };
  const given = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { child, firstLine } = run(
    [AGENTS, "simulator", "--exit-with-parent", ...given, ...args],
    {},
  );
  const { ports } = JSON.parse(await firstLine) as { ports: number[] };
  return { origins: ports.map((port) => `http://127.0.0.1:${port}`), child };
}

export interface Fairlead {
  readonly url: string;
  readonly key: string;
  readonly adminKey: string;
  readonly model: string;
  /** Of the first start of each process. */
  readonly pids: Readonly<Record<string, number>>;
  /** As running.json says now; empty when the run has ended. */
  pidsNow(): Readonly<Record<string, number>>;
  /** Prometheus text of a part with an admin port of its own. */
  metricsOf(part: string): Promise<string>;
  readonly stateDir: string;
  readonly invocation: Invocation;
  readonly client: OpenAI;
  /** A request with the tenant's key. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** GET below /admin/v1. */
  admin(path: string): Promise<unknown>;
  /** Replaces these keys of the first pool, e.g. its scheduler. Resolves when its object goes by them. */
  configurePool(change: object): Promise<void>;
  /** Origins of the simulated engines. */
  engines(): string[];
  /** Names and texts of all logs. */
  logs(): Record<string, string>;
  /** As Ctrl-C does. */
  interrupt(): Promise<Finished>;
  /** Stops it, if it still runs. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * In the object, unless a test says otherwise: on a busy machine it is far enough away for `auto` to pick at the
 * edge, where no other candidate is on record.
 */
function decideIn(args: readonly string[]): string[] {
  const isSaid = args.includes("--decide") || args.includes("--config");
  return isSaid ? [] : ["--decide", "consult"];
}

/** Runs `fairlead up --json` on a free port with a state directory of its own. */
export async function startFairlead(...args: string[]): Promise<Fairlead> {
  const stateDir = mkdtempSync(join(tmpdir(), "fairlead-e2e-"));
  const up = await startFairleadIn(stateDir, ...args);
  return {
    ...up,
    async [Symbol.asyncDispose]() {
      await up[Symbol.asyncDispose]();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

/** The same in a state directory that stays. */
export async function startFairleadIn(stateDir: string, ...args: string[]): Promise<Fairlead> {
  const engines = args.some((arg) => arg.startsWith("--endpoint"))
    ? []
    : ["--time-scale", String(TIME_SCALE)];
  const common = ["up", "--json", "--exit-with-parent", "--port", "0", "--state-dir", stateDir];
  const invocation = invoke([...common, ...engines, ...decideIn(args), ...args]);
  const ready = JSON.parse(await invocation.firstLine) as Fairlead;
  const { url, key, adminKey, model, pids } = ready;
  const authorization = { authorization: `Bearer ${key}` };
  return {
    url,
    key,
    adminKey,
    model,
    pids,
    pidsNow: () => readRunning(stateDir)?.pids ?? {},
    async metricsOf(part) {
      const port = readRunning(stateDir)?.adminPorts[part];
      return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    },
    stateDir,
    invocation,
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 }),
    fetch: (path, init) =>
      fetch(`${url}${path}`, {
        ...init,
        headers: { ...authorization, ...(init?.headers as Record<string, string>) },
      }),
    async admin(path) {
      const headers = { authorization: `Bearer ${adminKey}` };
      const response = await fetch(`${url}/admin/v1${path}`, { headers });
      return response.json();
    },
    configurePool: (change) => configureFirstPool(ready, change),
    engines: () => readEngines(stateDir),
    logs: () => readLogs(stateDir),
    async interrupt() {
      invocation.child.kill("SIGINT");
      return invocation.finished;
    },
    async [Symbol.asyncDispose]() {
      invocation.child.kill("SIGTERM");
      const timer = setTimeout(() => invocation.child.kill("SIGKILL"), EXIT_MS_MAX);
      await invocation.finished;
      clearTimeout(timer);
    },
  };
}

/** Much quicker than the commands that do the same, which have tests of their own. */
async function configureFirstPool({ url, adminKey }: Fairlead, change: object): Promise<void> {
  const call = async (path: string, init: RequestInit = {}) => {
    const headers = { authorization: `Bearer ${adminKey}`, "content-type": "application/json" };
    const response = await fetch(`${url}/admin/v1${path}`, { ...init, headers });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return response.json();
  };
  const read = (await call("/config")) as { config: { pools: { name: string }[] } };
  const [pool, ...others] = read.config.pools;
  const config = { ...read.config, pools: [{ ...pool, ...change }, ...others] };
  const body = JSON.stringify(config);
  const { version } = (await call("/config", { method: "PUT", body })) as { version: number };
  await eventually(`the pool's object has version ${version}`, async () => {
    const state = (await call(`/pools/${pool!.name}`)) as { configVersion: number };
    return state.configVersion >= version ? true : undefined;
  });
}

function readEngines(stateDir: string): string[] {
  const file = join(stateDir, "generated", "endpoints-local.json");
  const { endpoints } = JSON.parse(readFileSync(file, "utf8")) as {
    endpoints: { address: string; port: number }[];
  };
  return endpoints.map(({ address, port }) => `http://${address}:${port}`);
}

interface Running {
  readonly pids: Readonly<Record<string, number>>;
  readonly adminPorts: Readonly<Record<string, number>>;
}

/** undefined when the run has ended. */
function readRunning(stateDir: string): Running | undefined {
  const file = join(stateDir, "running.json");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Running) : undefined;
}

function readLogs(stateDir: string): Record<string, string> {
  const dir = join(stateDir, "logs");
  return Object.fromEntries(
    readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), "utf8")]),
  );
}

/** A port that was free a moment ago. */
export const freePort = (): Promise<number> => findFreePort("127.0.0.1");

/** Polls until `probe` gives something else than undefined. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(25);
  }
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const status = `/proc/${pid}/status`;
    return !existsSync(status) || !/^State:\s+Z/m.test(readFileSync(status, "utf8"));
  } catch {
    return false;
  }
}

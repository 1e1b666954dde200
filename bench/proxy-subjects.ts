// What the proxy benchmarks compare: a whole Fairlead, and a bare Worker that passes a request on.
//
//   client ── unix socket ─► workerd (Fairlead) ── relay ─► engine
//   client ── unix socket ─► workerd (bare) ──────────────► the same engine
//
// The bare Worker goes straight to the engine, since a relay serves only signed requests. The relay
// is a process of its own, so that it weighs on neither workerd; both read the same answer. The front
// of `fairlead up` is left out for the same reason, and because the bare Worker has none.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readRunning } from "../src/cli/up/state-dir.ts";
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from "../src/cli/workerd-config.ts";

const FAIRLEAD = fileURLToPath(new URL("../src/cli/fairlead.mjs", import.meta.url));
const GUARD = fileURLToPath(new URL("../src/cli/up/guard.ts", import.meta.url));
/** Of the kernel's interface, the same on every Linux. */
const TICKS_PER_SECOND = 100;

/** A workerd under load. */
export interface Subject {
  readonly name: "fairlead" | "bare";
  /** Where it listens. */
  readonly socketPath: string;
  /** As a client sends it. */
  readonly authorization: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Processor time of a process since its start, in user and kernel mode. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is a name in parentheses, which may hold spaces; the third follows it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}

/** `fairlead up` as a user runs it, with one endpoint. */
export async function startFairlead(engineOrigin: string): Promise<Subject> {
  const dir = mkdtempSync(join(tmpdir(), "bench-fairlead-"));
  const args = ["up", "--json", "--exit-with-parent", "--port", "0", "--state-dir", dir];
  const up = start(dir, [FAIRLEAD, ...args, "--endpoint", engineOrigin]);
  const ready = (await up.ready) as { key: string; pids: { workerd: number } };
  const running = readRunning(join(dir, "running.json"));
  if (running === undefined) throw new Error("fairlead up said that it is ready but does not run");
  return {
    name: "fairlead",
    socketPath: join(running.socketDir, "workerd.sock"),
    authorization: `Bearer ${ready.key}`,
    pid: ready.pids.workerd,
    stop: up.stop,
  };
}

/** The least a Worker can do for a request: `fetch` it. Its workerd has the same settings. */
export async function startBare(engineOrigin: string): Promise<Subject> {
  const dir = mkdtempSync(join(tmpdir(), "bench-bare-"));
  const socketPath = join(dir, "workerd.sock");
  writeFileSync(join(dir, "worker.js"), bareWorker(engineOrigin));
  writeFileSync(join(dir, "workerd.capnp"), bareConfig(socketPath));
  const { default: binary } = createRequire(import.meta.url)("workerd") as { default: string };
  const guard = start(dir, [GUARD, binary, "serve", join(dir, "workerd.capnp")]);
  const { pid } = (await guard.ready) as { pid: number };
  return { name: "bare", socketPath, authorization: "Bearer none", pid, stop: guard.stop };
}

function bareWorker(engineOrigin: string): string {
  return `export default {
  fetch(request) {
    const { pathname } = new URL(request.url);
    return fetch(new Request(${JSON.stringify(engineOrigin)} + pathname, request));
  },
};
`;
}

function bareConfig(socketPath: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "bare", worker = (
      modules = [(name = "worker", esModule = embed "worker.js")],
      compatibilityDate = ${JSON.stringify(COMPATIBILITY_DATE)},
      compatibilityFlags = ${JSON.stringify(COMPATIBILITY_FLAGS)},
    )),
    (name = "internet", network = (allow = ["local", "private", "public"])),
  ],
  sockets = [
    (name = "http", address = ${JSON.stringify(`unix:${socketPath}`)}, http = (), service = "bare"),
  ],
);
`;
}

interface Started {
  /** What the first line of its stdout says. Rejects with its stderr if it ends before. */
  readonly ready: Promise<unknown>;
  /** Ends it and removes its folder. */
  readonly stop: () => Promise<void>;
}

/** Runs a script with this Node. It ends with us, however we end: its stdin closes then. */
function start(dir: string, args: readonly string[]): Started {
  const child: ChildProcess = spawn(process.execPath, [...args], { stdio: "pipe" });
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
  return { ready: ready.promise, stop };
}

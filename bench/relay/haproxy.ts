// HAProxy before the same engine, where it is installed.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findFreePort } from "../../src/cli/up/ports.ts";

/** Of the machine, not of the project. */
const PROGRAM = "haproxy";

export interface Haproxy {
  readonly address: string;
  readonly pid: number;
  stop(): void;
}

/** Undefined where it is not installed. It runs on one thread, as Node does. */
export async function startHaproxy(engine: string): Promise<Haproxy | undefined> {
  if (spawnSync(PROGRAM, ["-v"]).status !== 0) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "bench-haproxy-"));
  const address = `127.0.0.1:${await findFreePort("127.0.0.1")}`;
  const file = join(dir, "haproxy.cfg");
  writeFileSync(file, config(address, engine));
  // In the foreground, so that it is the process that was started.
  const child: ChildProcess = spawn(PROGRAM, ["-db", "-f", file], { stdio: "ignore" });
  return {
    address,
    pid: child.pid!,
    stop() {
      child.kill("SIGTERM");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function config(address: string, engine: string): string {
  return `global
  nbthread 1
  maxconn 10000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend bench
  bind ${address}
  default_backend engine
backend engine
  server one ${engine}
`;
}

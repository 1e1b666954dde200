// What the proxy benchmarks compare: a whole Fairlead, and a bare Worker that passes a request on.
//
//   client ── unix socket ─► workerd (Fairlead) ─┐
//                                                ├─► relay ─► engine
//   client ── unix socket ─► workerd (bare) ─────┘
//
// Both go through one relay, so the difference is what Fairlead's Worker and objects do. The relay
// serves only signed requests with a ticket that is new to it; those of the bare Worker are signed by
// the client, before a round begins. The relay reports the bare Worker's tickets to the pool's object
// like all others; no object gives out such names, so it ignores them. Reading them costs Fairlead's
// workerd about 0.2 ms a request, all of it in a round of the bare Worker, when that workerd is not
// measured: after the pause that ends a round it is as idle as before. A second relay would keep them
// apart altogether, and would be another process with its own luck.
//
// The relay is a process of its own and counts for neither side. The front of `fairlead up` is left
// out: it counts for neither, too, and the bare Worker has none.

import { mkdtempSync, readlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findFreePort } from "../src/cli/up/ports.ts";
import { readRunning } from "../src/cli/up/state-dir.ts";
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from "../src/cli/workerd-config.ts";
import { FAIRLEAD, start, type Started } from "./child.ts";
import { MODEL } from "./conversation.ts";
import { BenchEngine } from "./engine.ts";
import { RequestSigner } from "./signed-headers.ts";

const GUARD = fileURLToPath(new URL("../src/cli/up/guard.ts", import.meta.url));
const AGENTS = fileURLToPath(new URL("../src/agents/main.ts", import.meta.url));
const AGENT_TOKEN = "bench-token-of-the-agents";
const TENANT = { id: "bench", key: "bench-key-of-the-tenant" };
const RELAY_KEY = { id: "k1", secret: "bench-secret-of-the-relay" };

/** What is under load: one process, or as many as Fairlead runs. */
export interface Target {
  readonly name: string;
  /** Where it listens: a Unix socket, or `host:port`. */
  readonly socketPath?: string;
  readonly address?: string;
  readonly pids: readonly number[];
  /** Of `pids`, those that clients' requests reach; all of them unless said otherwise. */
  readonly workerPids?: readonly number[];
  /** What a request with the body at `index` needs to be served: made anew for each request. */
  headers(index: number): Readonly<Record<string, string>>;
}

/** A workerd, or several. */
export interface Subject extends Target {
  readonly name: "fairlead" | "bare";
  readonly socketPath: string;
}

/** How a benchmark's stack differs from the usual one. */
interface StackOptions {
  /** Further members of the pool's configuration, and of the tenant's. */
  readonly pool?: object;
  /** Of further pools: behind the same relay, with the same endpoint and a collector each. */
  readonly morePools?: readonly object[];
  readonly tenant?: object;
  /** Of processes that objects have to themselves; 0, which it is unless said otherwise: they are in the Worker's. */
  readonly coordinators?: number;
  /** The bare Worker's script, for the relay's address. */
  readonly bareWorker?: (relay: string) => string;
}

/** Everything that runs during a benchmark. */
export interface Stack {
  readonly engine: BenchEngine;
  /** Of Fairlead's admin API. */
  readonly adminKey: string;
  readonly url: string;
  readonly fairlead: Subject;
  readonly bare: Subject;
  /** The relay both go through, asked by itself. */
  readonly relay: Target;
  stop(): Promise<void>;
}

/** Starts both subjects for clients that send `bodies`. */
export async function startStack(
  bodies: readonly string[],
  options: StackOptions = {},
): Promise<Stack> {
  const engine = await BenchEngine.start();
  const started: Started[] = [];
  const stop = async () => {
    await Promise.all(started.map((each) => each.stop()));
    engine.close();
  };
  try {
    const port = await findFreePort("127.0.0.1");
    const relay = `127.0.0.1:${port}`;
    const config = deployment(port, options);
    const { fairlead, adminKey, relayPid, url } = await startFairlead(
      started,
      engine.address,
      config,
      options.coordinators,
    );
    for (const pool of config.pools.slice(1)) {
      started.push(startCollector(pool.name, engine.address, url));
      await started.at(-1)!.ready;
    }
    const script = (options.bareWorker ?? bareWorker)(relay);
    const destination = engine.address;
    const signer = new RequestSigner({ key: RELAY_KEY, destination, tenant: TENANT.id, bodies });
    const headers = (index: number) => signer.sign(index);
    const bare = await startBare(started, script, headers);
    const alone = { name: "relay", address: relay, pids: [relayPid], headers };
    return { engine, adminKey, url, fairlead, bare, relay: alone, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** `fairlead up` as a user runs it, with one endpoint. */
async function startFairlead(
  started: Started[],
  engine: string,
  written: unknown,
  coordinators = 0,
): Promise<{ fairlead: Subject; adminKey: string; relayPid: number; url: string }> {
  const dir = mkdtempSync(join(tmpdir(), "bench-fairlead-"));
  const config = join(dir, "fairlead.yaml");
  writeFileSync(config, JSON.stringify(written));
  const flags = ["--json", "--exit-with-parent", "--port", "0", "--state-dir", dir];
  if (coordinators > 0) flags.push("--coordinators", String(coordinators));
  const endpoint = `http://${engine}`;
  const up = start(dir, [FAIRLEAD, "up", ...flags, "--config", config, "--endpoint", endpoint]);
  started.push(up);
  const ready = (await up.ready) as Ready;
  const running = readRunning(join(dir, "running.json"));
  if (running === undefined) throw new Error("fairlead up said that it is ready but does not run");
  const pids = Object.values(ready.pids).filter(isWorkerd);
  const workerPids = pids.filter(
    (pid) => pid === ready.pids[coordinators > 0 ? "edge" : "workerd"],
  );
  if (pids.length === 0) throw new Error("fairlead up names no workerd among its processes");
  const headers = { authorization: `Bearer ${TENANT.key}` };
  const socketPath = join(running.socketDir, "workerd.sock");
  const fairlead = {
    name: "fairlead",
    socketPath,
    pids,
    workerPids,
    headers: () => headers,
  } as const;
  const { adminKey, url } = ready;
  return { fairlead, adminKey, relayPid: ready.pids["relay-bench"]!, url };
}

/** What `fairlead up` says of itself. */
interface Ready {
  readonly adminKey: string;
  readonly url: string;
  readonly pids: Readonly<Record<string, number>>;
}

/** For a pool that `fairlead up` does not run: it gives engines to one pool only. */
function startCollector(pool: string, engine: string, url: string): Started {
  const dir = mkdtempSync(join(tmpdir(), "bench-collector-"));
  const endpoints = join(dir, "endpoints.json");
  const [address, port] = engine.split(":");
  const entry = { name: "engine", address, port: Number(port) };
  writeFileSync(endpoints, JSON.stringify({ endpoints: [entry] }));
  const flags = ["--pool", pool, "--connect", url, "--endpoints", endpoints, "--exit-with-parent"];
  return start(dir, [AGENTS, "collector", ...flags], { FAIRLEAD_AGENT_TOKEN: AGENT_TOKEN });
}

function deployment(relayPort: number, { pool, morePools = [], tenant }: StackOptions) {
  return {
    version: 1,
    pools: [pool, ...morePools].map((members, i) => ({
      name: i === 0 ? "bench" : `bench-${i + 1}`,
      region: "local",
      models: [MODEL],
      agentToken: AGENT_TOKEN,
      // Written otherwise, the same address is none that `fairlead up` would run a second relay at.
      relays: [
        {
          url: `http://${i === 0 ? "127.0.0.1" : "[::ffff:127.0.0.1]"}:${relayPort}`,
          keys: [RELAY_KEY],
        },
      ],
      ...members,
    })),
    tenants: [{ id: TENANT.id, keys: [TENANT.key], ...tenant }],
  };
}

function isWorkerd(pid: number): boolean {
  return basename(readlinkSync(`/proc/${pid}/exe`)) === "workerd";
}

/** Its workerd has Fairlead's settings. */
async function startBare(
  started: Started[],
  script: string,
  headers: Subject["headers"],
): Promise<Subject> {
  const dir = mkdtempSync(join(tmpdir(), "bench-bare-"));
  const socketPath = join(dir, "workerd.sock");
  writeFileSync(join(dir, "worker.js"), script);
  writeFileSync(join(dir, "workerd.capnp"), bareConfig(socketPath));
  const { default: binary } = createRequire(import.meta.url)("workerd") as { default: string };
  const guard = start(dir, [GUARD, binary, "serve", join(dir, "workerd.capnp")]);
  started.push(guard);
  const { pid } = (await guard.ready) as { pid: number };
  return { name: "bare", socketPath, pids: [pid], headers };
}

/** The least a Worker can do for a request: `fetch` it. */
function bareWorker(relay: string): string {
  return `export default {
  fetch(request) {
    const { pathname } = new URL(request.url);
    return fetch(new Request("http://${relay}" + pathname, request));
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

// Fairlead with engines, relay and two collectors in processes of their own, each of which a test may kill:
//
//   fairlead up ─ workerd ─┬─ relay ────── tells both collectors what prompts became
//                          ├─ collector-0 ─┐
//                          └─ collector-1 ─┴─ engine-0 … engine-2, a process each, with KV events
//
// Whoever was killed comes back with its ports: workerd by itself, the others when the test says so.
// The relay's address is one of the machine's own that `fairlead up` does not take for one of its pools.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { PoolState } from "../../src/durable/state.ts";
import {
  type ExplainedAttempt,
  explanationSchema,
} from "../../src/scheduler/decisions/document.ts";
import { eventually, type Fairlead, freePort, startFairleadIn } from "./harness.ts";

const AGENTS = fileURLToPath(new URL("../../src/agents/main.ts", import.meta.url));
const POOL = "kv";
export const MODEL = "model-of-kv";
const TOKEN = "agent-token-of-the-kv-pool";
const RELAY_SECRET = "relay-secret-of-the-kv-pool";
/** Loopback on Linux, but not one of the names that `fairlead up` runs a relay for. */
const RELAY_HOST = "127.0.0.2";
const LOOPBACK = "127.0.0.1";
export const ENGINES = 3;
export const COLLECTORS = 2;
/** Of 16 tokens, for each engine: less than all conversations have, so that blocks are evicted. */
const CACHE_BLOCKS = 3_072;
const TIME_SCALE = "0.2";

/** Changes gather for 20 ms before they are sent; then they are on their way. */
const FLUSH_MS = 50;

/** Prefixes decide, as the engines' events tell them; what was just sent counts for a moment. */
const PRECISE = "precise-prefix-cache-producer";
const SCHEDULER = {
  plugins: [
    { type: PRECISE, parameters: { speculativeIndexing: true, speculativeTTL: "500ms" } },
    { type: "prefix-cache-scorer", parameters: { prefixMatchInfoProducerName: PRECISE } },
    { type: "queue-scorer" },
    { type: "max-score-picker" },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [
        { pluginRef: "prefix-cache-scorer", weight: 2 },
        { pluginRef: "queue-scorer", weight: 1 },
        { pluginRef: "max-score-picker" },
      ],
    },
  ],
};

type ReadyLine = Readonly<Record<string, unknown>>;
type Flags = Readonly<Record<string, string>>;

/** A process that can be killed and started again as it was, with the ports that it found at first. */
class Part {
  readonly #role: string;
  readonly #flags: Flags;
  readonly #portFlags: (ready: ReadyLine) => Flags;
  #child: ChildProcess | undefined;
  #ready: ReadyLine | undefined;
  #adminPort = 0;

  constructor(role: string, flags: Flags, portFlags: (ready: ReadyLine) => Flags = () => ({})) {
    this.#role = role;
    this.#flags = flags;
    this.#portFlags = portFlags;
  }

  /** Rejects if it ends before it is ready. */
  async start(): Promise<ReadyLine> {
    const env = {
      ...process.env,
      FAIRLEAD_AGENT_TOKEN: TOKEN,
      FAIRLEAD_RELAY_KEYS: `k1:${RELAY_SECRET}`,
    };
    const ports = this.#ready === undefined ? {} : this.#portFlags(this.#ready);
    const flags = Object.entries({ ...this.#flags, ...ports });
    const given = flags.flatMap(([name, value]) => [`--${name}`, value]);
    const args = [AGENTS, this.#role, ...given, "--exit-with-parent"];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "ignore"], env });
    this.#child = child;
    const ended = once(child, "exit").then(() => {
      throw new Error(`${this.#role} ended`);
    });
    // Its later end is wanted.
    ended.catch(() => {});
    const [line] = (await Promise.race([once(child.stdout!, "data"), ended])) as [Buffer];
    const ready = JSON.parse(line.toString()) as ReadyLine;
    this.#ready ??= ready;
    this.#adminPort = Number(ready["adminPort"]);
    return ready;
  }

  /** A gauge without labels; 0 of a part that does not run. */
  async gauge(name: string): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.#adminPort}/metrics`).catch(() => null);
    const text = (await response?.text()) ?? "";
    const line = text.split("\n").find((each) => each.startsWith(`${name} `));
    return Number(line?.split(" ")[1] ?? 0);
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child!.kill(signal);
  }

  /** Resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
}

export class KvStack {
  readonly up: Fairlead;
  readonly origins: readonly string[];
  readonly collectors: readonly Part[];
  readonly engines: readonly Part[];
  readonly #relay: Part;
  readonly #root: string;

  private constructor(
    parts: Pick<KvStack, "up" | "origins" | "collectors" | "engines">,
    relay: Part,
    root: string,
  ) {
    this.up = parts.up;
    this.origins = parts.origins;
    this.collectors = parts.collectors;
    this.engines = parts.engines;
    this.#relay = relay;
    this.#root = root;
  }

  /** `engineFlags`: besides those that all engines here have. */
  static async start(engineCount = ENGINES, engineFlags: Flags = {}): Promise<KvStack> {
    const root = mkdtempSync(join(tmpdir(), "fairlead-kv-"));
    const relayPort = await freePort();
    const configFile = join(root, "fairlead.yaml");
    writeFileSync(configFile, JSON.stringify(deployment(relayPort)));
    const up = await startFairleadIn(join(root, "state"), "--config", configFile);
    const engines = Array.from({ length: engineCount }, () => createEngine(engineFlags));
    const ready = await Promise.all(engines.map((each) => each.start()));
    const endpoints = join(root, "endpoints.json");
    writeFileSync(endpoints, JSON.stringify({ endpoints: ready.map(endpointOf) }));
    const pool = { pool: POOL, connect: up.url, endpoints };
    const collectors = Array.from({ length: COLLECTORS }, (_, n) => createCollector(n, pool));
    const told = await Promise.all(collectors.map((each) => each.start()));
    const learnTo = told.map(({ learnPort }) => `http://${LOOPBACK}:${String(learnPort)}`);
    const relay = new Part("relay", {
      ...pool,
      name: "relay",
      listen: `${RELAY_HOST}:${relayPort}`,
      "learn-to": learnTo.join(","),
    });
    await relay.start();
    const origins = ready.map(({ ports }) => `http://${LOOPBACK}:${(ports as number[])[0]}`);
    const stack = new KvStack({ up, origins, collectors, engines }, relay, root);
    await eventually("relay and collectors are connected", async () =>
      (await stack.agents()).length === COLLECTORS + 1 ? true : undefined,
    );
    return stack;
  }

  async pool(): Promise<PoolState> {
    return (await this.up.admin(`/pools/${POOL}`)) as PoolState;
  }

  /** What is known of each endpoint; undefined while the object cannot be asked. */
  async knowledge(): Promise<readonly (string | undefined)[] | undefined> {
    const state = await this.pool().catch(() => undefined);
    return state?.endpoints?.map(({ knowledge }) => knowledge);
  }

  async agents(): Promise<readonly string[]> {
    const state = await this.pool().catch(() => undefined);
    return state?.agents?.map(({ agent }) => agent) ?? [];
  }

  /** Until what engines have done and what prompts became has reached the object. */
  async settle(): Promise<void> {
    await sleep(FLUSH_MS);
    await eventually("events come to rest", async () => {
      const due = await Promise.all([
        this.#relay.gauge("fairlead_relay_learning_waiting"),
        ...this.collectors.map((each) => each.gauge("fairlead_kv_stream_due_keys")),
      ]);
      return due.every((count) => count === 0) ? true : undefined;
    });
    await sleep(FLUSH_MS);
  }

  /** Kills workerd, and with it the object. `fairlead up` starts it again. */
  async killObject(): Promise<void> {
    const old = this.up.pidsNow()["workerd"]!;
    process.kill(old, "SIGKILL");
    await eventually("workerd runs again", () => {
      const pid = this.up.pidsNow()["workerd"];
      return pid !== undefined && pid !== old ? pid : undefined;
    });
  }

  /** One request; its status, and its id if it was answered. */
  async ask(body: string): Promise<{ readonly status: number; readonly requestId: string }> {
    const headers = { "content-type": "application/json" };
    const response = await this.up.fetch("/v1/chat/completions", { method: "POST", headers, body });
    await response.arrayBuffer();
    return {
      status: response.status,
      requestId: response.headers.get("x-fairlead-request-id") ?? "",
    };
  }

  /** Asks, and gives the last attempt as it was decided and ended. */
  async probe(body: string): Promise<ExplainedAttempt> {
    const { requestId } = await this.ask(body);
    return eventually("the request's end is reported", async () => {
      const explained = explanationSchema.parse(await this.up.admin(`/explain/${requestId}`));
      const last = explained.attempts.at(-1);
      return last?.result == null ? undefined : last;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [...this.collectors, this.#relay, ...this.engines].map((each) => each.kill()),
    );
    await this.up[Symbol.asyncDispose]();
    rmSync(this.#root, { recursive: true, force: true });
  }
}

function createEngine(given: Flags): Part {
  const anyPort = `tcp://${LOOPBACK}:*`;
  const config = { endpoint: anyPort, replay_endpoint: anyPort };
  const flags = {
    port: "0",
    "served-model-name": MODEL,
    "kv-events-config": JSON.stringify(config),
    "kv-cache-size": String(CACHE_BLOCKS),
    "max-model-len": String(CACHE_BLOCKS * 16),
    "time-scale": TIME_SCALE,
    ...given,
  };
  return new Part("simulator", flags, ({ ports, kvEventPorts, kvReplayPorts }) => ({
    ports: String(ports),
    "kv-events-ports": String(kvEventPorts),
    "kv-replay-ports": String(kvReplayPorts),
  }));
}

function createCollector(n: number, pool: Flags): Part {
  const listen = (port: unknown) => ({ "learn-listen": `${LOOPBACK}:${String(port)}` });
  const flags = { ...pool, name: `collector-${n}`, "kv-events": "connect", ...listen(0) };
  return new Part("collector", flags, ({ learnPort }) => listen(learnPort));
}

/** As an engine's ready line says. */
function endpointOf(ready: ReadyLine, n: number): unknown {
  const first = (ports: unknown) => (ports as number[])[0]!;
  const labels = {
    "fairlead/kv-events-url": `tcp://${LOOPBACK}:${first(ready["kvEventPorts"])}`,
    "fairlead/kv-replay-url": `tcp://${LOOPBACK}:${first(ready["kvReplayPorts"])}`,
  };
  return { name: `engine-${n}`, address: LOOPBACK, port: first(ready["ports"]), labels };
}

function deployment(relayPort: number): unknown {
  return {
    version: 1,
    pools: [
      {
        name: POOL,
        region: "here",
        models: [MODEL],
        // What is compared here is on the object's record.
        decide: "consult",
        agentToken: TOKEN,
        relays: [
          { url: `http://${RELAY_HOST}:${relayPort}`, keys: [{ id: "k1", secret: RELAY_SECRET }] },
        ],
        scheduler: SCHEDULER,
      },
    ],
    tenants: [{ id: "acme", keys: ["sk-acme-0123456789"] }],
  };
}

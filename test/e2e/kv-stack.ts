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
import type { PoolState } from "../../src/durable/contract.ts";
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

/** A process that can be killed and started again as it was. */
class Part {
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #adminPort = 0;

  constructor(args: readonly string[]) {
    this.#args = args;
  }

  async start(): Promise<void> {
    const env = {
      ...process.env,
      FAIRLEAD_AGENT_TOKEN: TOKEN,
      FAIRLEAD_RELAY_KEYS: `k1:${RELAY_SECRET}`,
    };
    const args = [AGENTS, ...this.#args, "--exit-with-parent"];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "ignore"], env });
    this.#child = child;
    const [line] = (await once(child.stdout!, "data")) as [Buffer];
    const { adminPort } = JSON.parse(line.toString()) as { adminPort?: number };
    this.#adminPort = adminPort ?? 0;
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

  private constructor(up: Fairlead, root: string, ports: Ports) {
    this.up = up;
    this.#root = root;
    this.origins = ports.engines.map(({ serving }) => `http://${LOOPBACK}:${serving}`);
    const endpoints = join(root, "endpoints.json");
    writeFileSync(endpoints, JSON.stringify({ endpoints: ports.engines.map(endpointOf) }));
    const pool = ["--pool", POOL, "--connect", up.url, "--endpoints", endpoints];
    this.engines = ports.engines.map((each) => new Part(engineArgs(each)));
    this.collectors = ports.learning.map((port, n) => {
      const learning = ["--kv-events", "connect", "--learn-listen", `${LOOPBACK}:${port}`];
      return new Part(["collector", ...pool, "--name", `collector-${n}`, ...learning]);
    });
    const told = ports.learning.map((port) => `http://${LOOPBACK}:${port}`).join(",");
    const listen = ["--listen", `${RELAY_HOST}:${ports.relay}`, "--learn-to", told];
    this.#relay = new Part(["relay", ...pool, "--name", "relay", ...listen]);
  }

  static async start(): Promise<KvStack> {
    const root = mkdtempSync(join(tmpdir(), "fairlead-kv-"));
    const ports = await findPorts();
    const configFile = join(root, "fairlead.yaml");
    writeFileSync(configFile, JSON.stringify(deployment(ports.relay)));
    const up = await startFairleadIn(join(root, "state"), "--config", configFile);
    const stack = new KvStack(up, root, ports);
    await Promise.all(stack.engines.map((each) => each.start()));
    await Promise.all([...stack.collectors, stack.#relay].map((each) => each.start()));
    await eventually("relay and collectors are connected", async () => {
      const { agents } = await stack.pool();
      return agents.length === COLLECTORS + 1 ? true : undefined;
    });
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

interface EnginePorts {
  readonly serving: number;
  readonly events: number;
  readonly replay: number;
}
interface Ports {
  readonly relay: number;
  readonly learning: readonly number[];
  readonly engines: readonly EnginePorts[];
}

async function findPorts(): Promise<Ports> {
  const free = await Promise.all(
    Array.from({ length: 1 + COLLECTORS + 3 * ENGINES }, () => freePort()),
  );
  const [relay, ...others] = free as [number, ...number[]];
  const engines = Array.from({ length: ENGINES }, (_, n) => {
    const [serving, events, replay] = others.slice(COLLECTORS + 3 * n);
    return { serving: serving!, events: events!, replay: replay! };
  });
  return { relay, learning: others.slice(0, COLLECTORS), engines };
}

function engineArgs({ serving, events, replay }: EnginePorts): string[] {
  const anyPort = `tcp://${LOOPBACK}:*`;
  const flags = {
    ports: serving,
    "kv-events-ports": events,
    "kv-replay-ports": replay,
    "served-model-name": MODEL,
    "kv-events-config": JSON.stringify({ endpoint: anyPort, replay_endpoint: anyPort }),
    "kv-cache-size": CACHE_BLOCKS,
    "max-model-len": CACHE_BLOCKS * 16,
    "time-scale": TIME_SCALE,
  };
  return ["simulator", ...Object.entries(flags).flatMap(([name, v]) => [`--${name}`, String(v)])];
}

function endpointOf({ serving, events, replay }: EnginePorts, n: number): unknown {
  const labels = {
    "fairlead/kv-events-url": `tcp://${LOOPBACK}:${events}`,
    "fairlead/kv-replay-url": `tcp://${LOOPBACK}:${replay}`,
  };
  return { name: `engine-${n}`, address: LOOPBACK, port: serving, labels };
}

function deployment(relayPort: number): unknown {
  return {
    version: 1,
    pools: [
      {
        name: POOL,
        region: "here",
        models: [MODEL],
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

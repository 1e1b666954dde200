// Content keys over a real WebSocket into a pool's object in workerd, as fast as it gives credit, and what
// another call to the object waits meanwhile.
//
// A collector of our own joins a running Fairlead and tells of endpoints that nobody else knows, so that
// picks are not touched by what it says; a probe asks the object what waits, which is an RPC as a pick is
// and does next to nothing.
//
// Sender, Worker, object and probe share the cores: a call waits for those as well. So calls are also timed while
// the same keys go into another Fairlead on the same machine, whose object is not the one that is asked. By turns,
// so that other work on the machine meets all three.

import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { pino } from "pino";
import { KvStream } from "../../src/agents/collector/kv-stream/kv-stream.ts";
import { encodeFrame, FRAME } from "../../src/agents/protocol/codec.ts";
import { PoolSession } from "../../src/agents/session/pool-session.ts";
import { HELD_ON_GPU, NOT_HELD } from "../../src/scheduler/kv/residency/holding.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { MetricRegistry } from "../../src/telemetry/metrics.ts";
import { FAIRLEAD, start, type Started } from "../child.ts";
import { type Measurement, quantile } from "../measure.ts";
import { cpuMs } from "../proc.ts";
import type { ProbeTarget } from "./probe.ts";

export const KV_SOCKET_NAME = "kv-stream-socket";
const POOL = "local";
const ENDPOINTS = 8;
/** Keys that an endpoint holds at a time. */
const HELD_KEYS = 65_536;
/** Changes that are made before the sender looks whether they are wanted. */
const STEP_KEYS = 4_096;
/** The sender looks again whether it may send, if it hears nothing: as a collector does. */
const CREDIT_MS_MAX = 20;
/** While the probe asks: the most that a pool is to take. */
const PACE_KEYS_PER_S = 1_000_000;
/** By turns, without keys and with. */
const ROUNDS = 5;

export interface KvSocketBudget {
  readonly ms: number;
}

interface Ready {
  readonly url: string;
  readonly adminKey: string;
  readonly pids: Readonly<Record<string, number>>;
}

export async function* measureKvSocket(
  budget: KvSocketBudget = { ms: 10_000 },
): AsyncGenerator<Measurement> {
  const asked = new Running();
  const other = new Running();
  try {
    await asked.start();
    yield* await measureRate(asked.sender, coordinatorOf(asked.ready), budget.ms);
    await other.start();
    const probe = new Probe(asked.ready);
    try {
      yield* await measureWaits(probe, { asked, other }, budget.ms);
    } finally {
      await probe.close();
    }
  } finally {
    await asked.stop();
    await other.stop();
  }
}

/** A Fairlead of its own, and a collector with full caches. */
class Running {
  readonly #dir = mkdtempSync(join(tmpdir(), "bench-kv-"));
  #up: Started | undefined;
  ready!: Ready;
  sender!: Sender;

  async start(): Promise<void> {
    const args = ["up", "--json", "--exit-with-parent", "--port", "0", "--state-dir", this.#dir];
    this.#up = start(this.#dir, [FAIRLEAD, ...args, "--coordinators", "1", "--engines", "1"]);
    this.ready = (await this.#up.ready) as Ready;
    const { agentToken } = JSON.parse(readFileSync(join(this.#dir, "keys.json"), "utf8")) as {
      agentToken: string;
    };
    this.sender = new Sender(new URL(this.ready.url), agentToken);
    await this.sender.fill();
  }

  async stop(): Promise<void> {
    await (this.sender as Sender | undefined)?.close();
    await this.#up?.stop();
  }
}

function coordinatorOf({ pids }: Ready): number {
  const found = Object.entries(pids).find(([name]) => name.startsWith("coordinator"));
  if (found === undefined) throw new Error("fairlead up names no coordinator among its processes");
  return found[1];
}

/** As fast as the object gives credit. */
async function measureRate(sender: Sender, object: number, ms: number): Promise<Measurement[]> {
  const before = { keys: sender.sentKeys, cpuMs: cpuMs([object]), atMs: performance.now() };
  await sender.send(ms, Infinity);
  const keys = sender.sentKeys - before.keys;
  const keysPerS = (keys / (performance.now() - before.atMs)) * 1_000;
  const cpuNs = ((cpuMs([object]) - before.cpuMs) * 1e6) / keys;
  const figure = { bench: KV_SOCKET_NAME, ratio: null, against: null };
  return [
    { ...figure, metric: "keys_per_s", value: keysPerS, unit: "1/s" },
    { ...figure, metric: "object_cpu_ns_per_key", value: cpuNs, unit: "ns" },
  ];
}

/** What calls wait: without keys, with keys into another object, and with keys into the one that is asked. */
async function measureWaits(
  probe: Probe,
  { asked, other }: { readonly asked: Running; readonly other: Running },
  ms: number,
): Promise<Measurement[]> {
  const quiet: number[] = [];
  const elsewhere: number[] = [];
  const here: number[] = [];
  const startKeys = asked.sender.sentKeys;
  for (let round = 0; round < ROUNDS; round++) {
    quiet.push(...(await probe.waits(ms / ROUNDS)));
    for (const [waits, { sender }] of [
      [elsewhere, other],
      [here, asked],
    ] as const) {
      const sending = sender.send(ms / ROUNDS, PACE_KEYS_PER_S);
      waits.push(...(await probe.waits(ms / ROUNDS)));
      await sending;
    }
  }
  const sentKeys = asked.sender.sentKeys - startKeys;
  const figure = { bench: KV_SOCKET_NAME, unit: "ms" };
  const paced = { ...figure, metric: "keys_per_s_while_asked", unit: "1/s", ratio: null };
  const waits = [0.5, 0.99].flatMap((at) => {
    const [idle, control, value] = [quiet, elsewhere, here].map((all) => quantile(all, at));
    const metric = `call_p${at * 100}_ms`;
    return [
      { ...figure, metric, value: value!, ratio: value! / idle!, against: "the same without keys" },
      {
        ...figure,
        metric: `${metric}_added`,
        value: value! - control!,
        ratio: value! / control!,
        against: "the same with keys into another object",
      },
    ];
  });
  return [{ ...paced, value: (sentKeys / ms) * 1_000, against: null }, ...waits];
}

/** See probe.ts. */
class Probe {
  readonly #thread: Worker;

  constructor({ url, adminKey }: Ready) {
    const workerData: ProbeTarget = { url, adminKey, path: `/admin/v1/pools/${POOL}/queue` };
    this.#thread = new Worker(new URL("probe.ts", import.meta.url), { workerData });
  }

  /** Milliseconds that each call took, of those within so many. */
  async waits(ms: number): Promise<number[]> {
    const taken = once(this.#thread, "message");
    this.#thread.postMessage(ms);
    const [waits] = (await taken) as [number[]];
    return waits;
  }

  async close(): Promise<void> {
    await this.#thread.terminate();
  }
}

/** A collector whose engines never rest. */
class Sender {
  readonly #session: PoolSession;
  readonly #stream: KvStream;
  readonly #registry = new MetricRegistry();
  readonly #endpoints = Array.from({ length: ENDPOINTS }, (_, n) => ({
    id: `bench/e${n}`,
    address: `192.0.2.${n + 1}:8000`,
    engine: "vllm" as const,
    labels: {},
  }));
  readonly #keys = randomWords(HELD_KEYS * 4);
  #at = 0;
  #isListDue = false;
  /** The object has said something. */
  #credited = Promise.withResolvers<void>();
  sentKeys = 0;

  constructor(connect: URL, token: string) {
    const sources = this.#endpoints.map(({ id }) => ({ endpoint: id, rank: 0 }));
    this.#stream = new KvStream({
      send: (encode) => this.#session.send(encode),
      sourceAt: (slot) => sources[slot],
      whole: () => new Map(this.#endpoints.map(({ id }) => [id, true])),
      tokensUpTo: (low) => low & 0xffff,
      registry: this.#registry,
    });
    this.#stream.follow(this.#endpoints);
    const logger = pino({ level: "silent" });
    this.#session = new PoolSession({
      role: "collector",
      pool: POOL,
      agent: "bench",
      connect,
      token,
      logger,
      registry: this.#registry,
      events: {
        onWelcome: () => this.#stream.connected(),
        onResync: () => (this.#isListDue = true),
        onAck: () => undefined,
        onConfigure: ({ kvWindowBytes, kvTokenEnds }) =>
          this.#stream.configured(kvWindowBytes, kvTokenEnds),
        onKv: (message) => {
          this.#stream.received(message);
          this.#credited.resolve();
        },
      },
    });
  }

  /** Connects, and tells of full caches. */
  async fill(): Promise<void> {
    while (!this.#session.isEstablished) await sleep(10);
    for (let n = 0; n < (HELD_KEYS / STEP_KEYS) * ENDPOINTS; n++) this.#step(false);
    await this.#drain();
  }

  /** Keys come and go, at most so many a second. */
  async send(ms: number, keysPerS: number): Promise<void> {
    const startedMs = performance.now();
    const { sentKeys } = this;
    while (performance.now() < startedMs + ms) {
      this.#step(true);
      await this.#drain();
      const dueMs = startedMs + ((this.sentKeys - sentKeys) / keysPerS) * 1_000;
      if (dueMs > performance.now()) await sleep(dueMs - performance.now());
    }
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  /** One endpoint stores so many keys, and evicts those that came HELD_KEYS before. */
  #step(evicts: boolean): void {
    const at = this.#at++;
    const slot = at % ENDPOINTS;
    const steps = (HELD_KEYS * 2) / STEP_KEYS;
    const turnOf = (n: number) => (((n % steps) + steps) % steps) * STEP_KEYS * 2;
    const added = turnOf(Math.floor(at / ENDPOINTS));
    const gone = turnOf(Math.floor(at / ENDPOINTS) - HELD_KEYS / STEP_KEYS);
    for (let i = 0; i < STEP_KEYS * 2; i += 2) {
      this.#stream.held(slot, this.#keys[added + i]!, this.#keys[added + i + 1]!, HELD_ON_GPU);
      if (!evicts) continue;
      this.#stream.held(slot, this.#keys[gone + i]!, this.#keys[gone + i + 1]!, NOT_HELD);
    }
    this.sentKeys += evicts ? STEP_KEYS * 2 : STEP_KEYS;
  }

  /** Until all is sent but what one step makes. Takes no processor while it waits for credit. */
  async #drain(): Promise<void> {
    for (;;) {
      if (this.#isListDue) this.#list();
      this.#stream.flush();
      await turn();
      if (this.#stream.figures.dueKeys <= STEP_KEYS * 2) return;
      await Promise.race([this.#credited.promise, sleep(CREDIT_MS_MAX)]);
      this.#credited = Promise.withResolvers();
    }
  }

  #list(): void {
    const payload = Buffer.from(JSON.stringify({ endpoints: this.#endpoints }));
    const isSent = this.#session.send((place) =>
      encodeFrame({ type: FRAME.membership, ...place }, payload),
    );
    if (!isSent) return;
    this.#isListDue = false;
    this.#stream.listed();
  }
}

function randomWords(count: number): Uint32Array {
  const rng = createRng(3);
  return Uint32Array.from({ length: count }, () => Math.floor(rng() * 2 ** 32));
}

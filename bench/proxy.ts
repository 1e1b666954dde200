// The whole way of a request through workerd: Fairlead beside a bare Worker, in one run.
//
// The figure is the processor time that workerd spends on a request, all its threads and the kernel's
// work for it included. Rounds of the two alternate, so that what else the machine does meets both;
// the median of the rounds counts. What a workerd does in the background is part of its figure.

import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { createRng } from "../src/scheduler/support/rng.ts";
import type { Measurement } from "./measure.ts";
import { MODEL, startEngine } from "./proxy-engine.ts";
import { cpuMs, startBare, startFairlead, type Subject } from "./proxy-subjects.ts";

const CONNECTIONS = 16;
const AGAINST = "bare Worker";
const PATH = "/v1/chat/completions";
/** Longer than the pool takes to settle what a relay has reported. */
const SETTLE_MS = 700;
/** workerd answers a moment after its process has started. */
const START_MS_MAX = 10_000;

interface ProxyBench {
  readonly name: string;
  readonly bodyBytes: number;
  readonly isStream: boolean;
  /** Bodies that differ, used in turn. */
  readonly bodies: number;
  readonly warmUpRequests: number;
  readonly requestsPerRound: number;
  readonly rounds: number;
}

const BENCHES: readonly ProxyBench[] = [
  {
    name: "proxy-json-4k",
    bodyBytes: 4_000,
    isStream: false,
    bodies: 256,
    warmUpRequests: 3_000,
    requestsPerRound: 1_000,
    rounds: 7,
  },
  {
    name: "proxy-json-400k",
    bodyBytes: 400_000,
    isStream: false,
    bodies: 16,
    warmUpRequests: 200,
    requestsPerRound: 100,
    rounds: 7,
  },
  {
    name: "proxy-sse-100",
    bodyBytes: 4_000,
    isStream: true,
    bodies: 256,
    warmUpRequests: 200,
    requestsPerRound: 80,
    rounds: 5,
  },
];

interface Round {
  readonly cpuMsPerRequest: number;
  readonly requestsPerSecond: number;
}

/** A benchmark for each kind of request, by name. */
export const proxyBenches: ReadonlyMap<string, () => AsyncIterable<Measurement>> = new Map(
  BENCHES.map((bench) => [bench.name, () => measureProxy(bench)]),
);

async function* measureProxy(bench: ProxyBench): AsyncGenerator<Measurement> {
  const engine = await startEngine();
  const started: Subject[] = [];
  try {
    const bare = await startBare(engine.origin);
    started.push(bare);
    const fairlead = await startFairlead(engine.origin);
    started.push(fairlead);
    yield* compare(bench, fairlead, bare);
  } finally {
    await Promise.all(started.map((subject) => subject.stop()));
    engine.close();
  }
}

async function* compare(
  bench: ProxyBench,
  fairlead: Subject,
  bare: Subject,
): AsyncGenerator<Measurement> {
  const bodies = Array.from({ length: bench.bodies }, (_, i) => createBody(bench, i));
  const clients = [fairlead, bare].map((subject) => new Client(subject, bodies, bench.isStream));
  const rounds: Record<Subject["name"], Round[]> = { fairlead: [], bare: [] };
  try {
    for (const client of clients) {
      await client.untilAnswers();
      await client.send(bench.warmUpRequests);
    }
    for (let i = 0; i < bench.rounds; i++) {
      for (const client of i % 2 === 0 ? clients : clients.toReversed()) {
        rounds[client.subject.name].push(await measureRound(client, bench.requestsPerRound));
      }
    }
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
  yield* figures(bench, rounds);
}

async function measureRound(client: Client, requests: number): Promise<Round> {
  await sleep(SETTLE_MS);
  const { pid } = client.subject;
  const before = cpuMs(pid);
  const startedMs = performance.now();
  await client.send(requests);
  const elapsedMs = performance.now() - startedMs;
  await sleep(SETTLE_MS);
  return {
    cpuMsPerRequest: (cpuMs(pid) - before) / requests,
    requestsPerSecond: requests / (elapsedMs / 1_000),
  };
}

function* figures(
  bench: ProxyBench,
  rounds: Readonly<Record<Subject["name"], readonly Round[]>>,
): Generator<Measurement> {
  const cpu = (name: Subject["name"]) => median(rounds[name].map((round) => round.cpuMsPerRequest));
  const rate = (name: Subject["name"]) =>
    median(rounds[name].map((round) => round.requestsPerSecond));
  const ratio = cpu("fairlead") / cpu("bare");
  const compared = { bench: bench.name, ratio, against: AGAINST };
  yield { ...compared, metric: "cpu_ratio", value: ratio, unit: "x" };
  yield { ...compared, metric: "cpu_ms", value: cpu("fairlead"), unit: "ms" };
  const over = cpu("fairlead") - cpu("bare");
  yield { ...compared, metric: "cpu_ms_over_bare", value: over, unit: "ms" };
  yield {
    ...compared,
    metric: "requests_per_s",
    value: rate("fairlead"),
    unit: "1/s",
    ratio: rate("fairlead") / rate("bare"),
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Sends requests to one subject, at most CONNECTIONS at a time. */
class Client {
  readonly subject: Subject;
  readonly #pool: Pool;
  readonly #bodies: readonly string[];
  readonly #headers: Readonly<Record<string, string>>;
  #sent = 0;

  constructor(subject: Subject, bodies: readonly string[], isStream: boolean) {
    this.subject = subject;
    this.#bodies = bodies;
    this.#pool = new Pool("http://bench.invalid", {
      socketPath: subject.socketPath,
      connections: CONNECTIONS,
      pipelining: 1,
    });
    this.#headers = {
      authorization: subject.authorization,
      "content-type": "application/json",
      accept: isStream ? "text/event-stream" : "application/json",
    };
  }

  async send(requests: number): Promise<void> {
    let left = requests;
    const lane = async () => {
      while (left-- > 0) await this.#sendOne();
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, lane));
  }

  async untilAnswers(): Promise<void> {
    const deadlineMs = performance.now() + START_MS_MAX;
    for (;;) {
      try {
        await this.#sendOne();
        return;
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
      }
      await sleep(50);
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  async #sendOne(): Promise<void> {
    const answer = await this.#pool.request({
      path: PATH,
      method: "POST",
      headers: this.#headers,
      body: this.#bodies[this.#sent++ % this.#bodies.length]!,
    });
    const text = await answer.body.text();
    if (answer.statusCode !== 200)
      throw new Error(`${this.subject.name} answered ${answer.statusCode}: ${text.slice(0, 200)}`);
  }
}

/** A conversation of `bodyBytes`, give or take one word: its own, and therefore in no cache. */
function createBody(bench: ProxyBench, seed: number): string {
  const rng = createRng(seed);
  const messages: { role: string; content: string }[] = [];
  const turns = 8;
  for (let turn = 0; turn < turns; turn++) {
    let content = "";
    while (content.length < bench.bodyBytes / turns - 40) {
      content += `${Math.floor(rng() * 50_000).toString(36)} `;
    }
    messages.push({ role: turn % 2 === 0 ? "user" : "assistant", content });
  }
  return JSON.stringify({
    model: MODEL,
    max_tokens: 100,
    ...(bench.isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    messages,
  });
}

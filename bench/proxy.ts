// The whole way of a request through workerd: Fairlead beside a bare Worker, in one run.
//
// The figure is the processor time that workerd spends on a request, all its threads and the kernel's
// work for it included. What a workerd does in the background is part of its figure. Requests a
// second depend on whatever else the machine does and are only shown.
//
// A round of one is followed by a round of the other, so that what else the machine does meets both;
// which one begins alternates. Each such pair gives a ratio. The median of them counts, and the
// distance between their quartiles says how far to trust it.

import { setTimeout as sleep } from "node:timers/promises";
import { createChatBody } from "./conversation.ts";
import { LoadClient } from "./load-client.ts";
import { type Measurement, median, quartileRange } from "./measure.ts";
import { cpuMs } from "./proc.ts";
import { type Stack, startStack } from "./subjects.ts";

const AGAINST = "bare Worker";
/** After a round: longer than the pool takes to settle what a relay has reported. */
const SETTLE_MS = 700;

/** On a busy machine rounds take long: after this time no more are begun, but for the least. */
const MEASURE_MS_MAX = 60_000;
const ROUNDS_MIN = 5;

/** How much is sent. */
export interface ProxyBudget {
  readonly warmUpRequests: number;
  readonly requestsPerRound: number;
  /** Pairs of a round each, at most. */
  readonly rounds: number;
  /** Of the bare Worker, which has less to warm up; as many as the other unless said otherwise. */
  readonly bareWarmUpRequests?: number;
  /** After a round; SETTLE_MS unless said otherwise. */
  readonly settleMs?: number;
}

interface ProxyBench {
  readonly bodyBytes: number;
  readonly isStream: boolean;
  /**
   * Requests at once. Streams take a second each: with few of them, what a workerd does each second
   * for itself would pass for what a stream costs.
   */
  readonly connections: number;
  /** Bodies that differ, used in turn. */
  readonly bodies: number;
  /** The metric that has a goal; it is printed first. */
  readonly goal: "cpu_ratio" | "cpu_ms_over_bare";
  readonly budget: ProxyBudget;
}

const BENCHES = {
  "proxy-json-4k": {
    bodyBytes: 4_000,
    isStream: false,
    connections: 16,
    bodies: 256,
    goal: "cpu_ratio",
    budget: { warmUpRequests: 3_000, requestsPerRound: 600, rounds: 14 },
  },
  "proxy-json-400k": {
    bodyBytes: 400_000,
    isStream: false,
    connections: 16,
    bodies: 16,
    goal: "cpu_ms_over_bare",
    budget: { warmUpRequests: 200, requestsPerRound: 64, rounds: 12 },
  },
  "proxy-sse-100": {
    bodyBytes: 4_000,
    isStream: true,
    connections: 32,
    bodies: 256,
    goal: "cpu_ratio",
    budget: { warmUpRequests: 128, requestsPerRound: 96, rounds: 8 },
  },
} as const satisfies Record<string, ProxyBench>;

export type ProxyName = keyof typeof BENCHES;
export const PROXY_NAMES = Object.keys(BENCHES) as ProxyName[];

export interface Round {
  /** Of all its processes. */
  readonly cpuMsPerRequest: number;
  /** Of the process that the request reaches. */
  readonly workerCpuMsPerRequest: number;
  readonly requestsPerSecond: number;
}

/** A round of each, one after the other. */
export interface Pair {
  readonly fairlead: Round;
  readonly bare: Round;
}

/** Measures one kind of request, with its own budget unless another is given. */
export async function* measureProxy(
  name: ProxyName,
  budget: ProxyBudget = BENCHES[name].budget,
): AsyncGenerator<Measurement> {
  const bench: ProxyBench = BENCHES[name];
  const bodies = Array.from({ length: bench.bodies }, (_, seed) =>
    createChatBody({ ...bench, seed }),
  );
  const stack = await startStack(bodies);
  let pairs: Pair[];
  try {
    const { isStream, connections } = bench;
    pairs = await measurePairs(stack, { bodies, isStream, connections, budget });
  } finally {
    await stack.stop();
  }
  const measured = [...figures(name, pairs)];
  yield* measured.toSorted(
    (a, b) => Number(b.metric === bench.goal) - Number(a.metric === bench.goal),
  );
}

/** Sends both the same, in turn. */
export async function measurePairs(
  stack: Stack,
  load: {
    readonly bodies: readonly string[];
    readonly isStream: boolean;
    readonly connections: number;
    readonly budget: ProxyBudget;
  },
): Promise<Pair[]> {
  const { budget, connections } = load;
  const { settleMs = SETTLE_MS, warmUpRequests, bareWarmUpRequests = warmUpRequests } = budget;
  const fairlead = new LoadClient(stack.fairlead, load);
  const bare = new LoadClient(stack.bare, load);
  const pairs: Pair[] = [];
  try {
    for (const client of [fairlead, bare]) {
      const requests = client === bare ? bareWarmUpRequests : warmUpRequests;
      await client.untilAnswers();
      await client.send(client.prepare(requests), connections);
    }
    await sleep(settleMs);
    const deadlineMs = performance.now() + MEASURE_MS_MAX;
    for (let i = 0; i < budget.rounds; i++) {
      if (i >= ROUNDS_MIN && performance.now() > deadlineMs) break;
      const round = (client: LoadClient) =>
        measureRound(client, { ...budget, settleMs, connections });
      if (i % 2 === 0) pairs.push({ fairlead: await round(fairlead), bare: await round(bare) });
      else pairs.push({ bare: await round(bare), fairlead: await round(fairlead) });
    }
  } finally {
    await Promise.all([fairlead.close(), bare.close()]);
  }
  return pairs;
}

/** Ends with the pause that keeps its traces out of the next round. */
async function measureRound(
  client: LoadClient,
  {
    requestsPerRound: requests,
    settleMs,
    connections,
  }: {
    readonly requestsPerRound: number;
    readonly settleMs: number;
    readonly connections: number;
  },
): Promise<Round> {
  const prepared = client.prepare(requests);
  const { pids, workerPids = pids } = client.subject;
  const before = cpuMs(pids);
  const workerBefore = cpuMs(workerPids);
  const startedMs = performance.now();
  await client.send(prepared, connections);
  const elapsedMs = performance.now() - startedMs;
  await sleep(settleMs);
  return {
    cpuMsPerRequest: (cpuMs(pids) - before) / requests,
    workerCpuMsPerRequest: (cpuMs(workerPids) - workerBefore) / requests,
    requestsPerSecond: requests / (elapsedMs / 1_000),
  };
}

function* figures(bench: ProxyName, pairs: readonly Pair[]): Generator<Measurement> {
  const of = (value: (pair: Pair) => number) => pairs.map(value);
  const ratios = of(({ fairlead, bare }) => fairlead.cpuMsPerRequest / bare.cpuMsPerRequest);
  const ratio = median(ratios);
  const compared = { bench, ratio, against: AGAINST };
  const alone = { bench, ratio: null, against: null };
  yield { ...compared, metric: "cpu_ratio", value: ratio, unit: "x" };
  yield { ...alone, metric: "cpu_ratio_spread", value: quartileRange(ratios), unit: "x" };
  const over = of(({ fairlead, bare }) => fairlead.cpuMsPerRequest - bare.cpuMsPerRequest);
  yield { ...compared, metric: "cpu_ms_over_bare", value: median(over), unit: "ms", ratio: null };
  const cpu = of(({ fairlead }) => fairlead.cpuMsPerRequest);
  yield { ...compared, metric: "cpu_ms", value: median(cpu), unit: "ms" };
  yield {
    ...compared,
    metric: "requests_per_s",
    value: median(of(({ fairlead }) => fairlead.requestsPerSecond)),
    unit: "1/s",
    ratio: median(of(({ fairlead, bare }) => fairlead.requestsPerSecond / bare.requestsPerSecond)),
  };
}

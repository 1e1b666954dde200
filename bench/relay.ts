// The relay alone, beside a plain pass-through of undici and, where it is installed, HAProxy: what each
// spends on a request, how much later answers come, and what many streams cost.
//
// Each is one thread, so what it can do is what a core can: its throughput is the reciprocal of the
// processor time of a request, whatever else the machine does. Rounds of all alternate, as in proxy.ts.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { start } from "./child.ts";
import { createChatBody } from "./conversation.ts";
import { LoadClient } from "./load-client.ts";
import { type Measurement, median } from "./measure.ts";
import { cpuMs } from "./proc.ts";
import { startHaproxy } from "./relay/haproxy.ts";
import { measureSlowClients, type SlowBudget } from "./relay/slow-clients.ts";
import { measureStreams, type StreamsBudget } from "./relay/streams.ts";
import { type Stack, startStack, type Target } from "./subjects.ts";

export const RELAY_NAME = "relay";

const PASS_THROUGH = fileURLToPath(new URL("relay/pass-through.ts", import.meta.url));
const AGAINST = "undici pass-through";
const BODY_BYTES = 4_000;
const BODIES = 64;
const CONNECTIONS = 32;
/** After a round: what is reported of it leaves. */
const SETTLE_MS = 300;

interface RelayBudget {
  readonly rounds: number;
  readonly warmUpRequests: number;
  readonly requestsPerRound: number;
  readonly streamsPerRound: number;
  readonly latencyRequests: number;
  readonly streams: StreamsBudget;
  readonly slow: SlowBudget;
}

const BUDGET: RelayBudget = {
  rounds: 9,
  warmUpRequests: 2_000,
  requestsPerRound: 1_000,
  streamsPerRound: 96,
  latencyRequests: 300,
  streams: {
    streams: 2_000,
    chunks: 30,
    intervalMs: 1_000,
    waves: 3,
  },
  slow: { clients: 40, waitMs: 5_000 },
};

export async function* measureRelay(budget: RelayBudget = BUDGET): AsyncGenerator<Measurement> {
  const bodies = Array.from({ length: BODIES }, (_, seed) =>
    createChatBody({ bodyBytes: BODY_BYTES, seed, isStream: false }),
  );
  const stack = await startStack(bodies);
  const others = await startOthers(stack);
  try {
    const targets = [stack.relay, ...others.targets];
    yield* measureKind("json", targets, { bodies, isStream: false, budget });
    yield* measureKind("sse", targets, { bodies, isStream: true, budget });
    yield* measureLatency(targets, bodies, budget);
    yield* measureMemory(stack, bodies[0]!, budget);
    const value = await measureSlowClients(budget.slow);
    const alone = { bench: RELAY_NAME, ratio: null, against: null };
    yield { ...alone, metric: "slow_client_memory", value, unit: "KiB" };
  } finally {
    others.stop();
    await stack.stop();
  }
}

/** The pass-through, and HAProxy where there is one. */
async function startOthers(stack: Stack): Promise<{ targets: Target[]; stop: () => void }> {
  const dir = mkdtempSync(join(tmpdir(), "bench-pass-"));
  const pass = start(dir, [PASS_THROUGH, stack.engine.address]);
  const { port } = (await pass.ready) as { port: number };
  const haproxy = await startHaproxy(stack.engine.address);
  const headers = () => ({});
  const plain = { name: AGAINST, address: `127.0.0.1:${port}`, pids: [pass.pid], headers };
  const targets: Target[] = [plain];
  if (haproxy !== undefined) {
    targets.push({ name: "HAProxy", address: haproxy.address, pids: [haproxy.pid], headers });
  }
  const stop = () => {
    void pass.stop();
    haproxy?.stop();
  };
  return { targets, stop };
}

interface Load {
  readonly bodies: readonly string[];
  readonly isStream: boolean;
  readonly budget: RelayBudget;
}

async function* measureKind(
  kind: "json" | "sse",
  targets: readonly Target[],
  { bodies, isStream, budget }: Load,
): AsyncGenerator<Measurement> {
  const options = { bodies, isStream, connections: CONNECTIONS };
  const clients = targets.map((target) => new LoadClient(target, options));
  const cpu = targets.map((): number[] => []);
  const count = isStream ? budget.streamsPerRound : budget.requestsPerRound;
  try {
    for (const client of clients) {
      await client.untilAnswers();
      const warmUp = isStream ? count : budget.warmUpRequests;
      await client.send(client.prepare(warmUp), CONNECTIONS);
    }
    for (let round = 0; round < budget.rounds; round++) {
      // Whoever begins alternates.
      for (let i = 0; i < clients.length; i++) {
        const index = (i + round) % clients.length;
        cpu[index]!.push(await measureRound(clients[index]!, count));
      }
    }
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
  yield* capacities(kind, targets, cpu);
}

/** Processor time of a request. */
async function measureRound(client: LoadClient, count: number): Promise<number> {
  const prepared = client.prepare(count);
  const before = cpuMs(client.subject.pids);
  await client.send(prepared, CONNECTIONS);
  await sleep(SETTLE_MS);
  return (cpuMs(client.subject.pids) - before) / count;
}

function* capacities(
  kind: string,
  targets: readonly Target[],
  cpu: readonly (readonly number[])[],
): Generator<Measurement> {
  for (const [index, { name }] of targets.entries()) {
    if (index === 0) continue;
    // Of each round by itself: what disturbs the machine lasts longer than one.
    const ratios = cpu[index]!.map((theirs, round) => theirs / cpu[0]![round]!);
    const ratio = median(ratios);
    const figure = { bench: RELAY_NAME, metric: `${kind}_throughput`, unit: "1/s" };
    yield { ...figure, value: 1_000 / median(cpu[0]!), ratio, against: name };
  }
}

async function* measureLatency(
  targets: readonly Target[],
  bodies: readonly string[],
  { latencyRequests }: RelayBudget,
): AsyncGenerator<Measurement> {
  const options = { bodies, isStream: false, connections: 1 };
  const clients = targets.map((target) => new LoadClient(target, options));
  const tookMs = targets.map((): number[] => []);
  for (const client of clients) await client.untilAnswers();
  for (let i = 0; i < latencyRequests; i++) {
    for (const [index, client] of clients.entries()) {
      const prepared = client.prepare(1);
      const startedMs = performance.now();
      await client.send(prepared, 1);
      tookMs[index]!.push(performance.now() - startedMs);
    }
  }
  await Promise.all(clients.map((client) => client.close()));
  const [relay, ...others] = tookMs.map(median);
  for (const [index, other] of others.entries()) {
    const against = targets[index + 1]!.name;
    const figure = { bench: RELAY_NAME, unit: "ms", ratio: null, against };
    yield { ...figure, metric: "added_latency_p50", value: relay! - other };
  }
}

async function* measureMemory(
  stack: Stack,
  body: string,
  { streams: budget }: RelayBudget,
): AsyncGenerator<Measurement> {
  const alone = { bench: RELAY_NAME, ratio: null, against: null };
  const { streams, bytesPerStream, growth } = await measureStreams(stack, body, budget);
  yield { ...alone, metric: "streams_at_once", value: streams, unit: "" };
  yield { ...alone, metric: "memory_per_stream", value: bytesPerStream / 1_024, unit: "KiB" };
  yield { ...alone, metric: "memory_growth", value: growth, unit: "x" };
}

// Prefill and decode apart, in real time: `fairlead up` with simulated engines, the same number of them
// together and apart, under the same prefill-heavy requests. What is measured is what a client sees.
//
//   together    4 engines that do everything, and the pool's default
//   apart       2 prefill, 2 decode, and what `fairlead up --prefill 2 --decode 2` configures
//
// Engines are timed as in the simulation (roofline). What they cost this machine is in the figures: a simulated
// engine hashes each prompt it gets, so that a machine that is busy with it makes gaps of its own, and apart
// two engines get it. Simulated time that runs faster makes that worse.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import { createRng } from "../src/scheduler/support/rng.ts";
import { FAIRLEAD, start } from "./child.ts";
import { CHAT_PATH } from "./conversation.ts";
import { type Measurement, quantile } from "./measure.ts";

export const DISAGGREGATION_NAME = "disaggregation";

/** Real time by simulated time. */
const TIME_SCALE = 1;
const AGAINST = "together";

interface DisaggregationBudget {
  readonly requests: number;
  /** Simulated. */
  readonly requestsPerSecond: number;
}

const BUDGET: DisaggregationBudget = { requests: 120, requestsPerSecond: 3 };

/** Two of three are short, and wait behind the third where all go to one engine. */
const KINDS = [
  { share: 2 / 3, promptTokens: 300, outputTokens: 150 },
  { share: 1 / 3, promptTokens: 8_000, outputTokens: 200 },
] as const;

/** Of a 32B model on two H100, as in bench/simulation. */
const ENGINE_ARGS = [
  "latency-calculator=roofline",
  "step-time=24ms",
  "prefill-time-per-token=60us",
  "decode-time-per-sequence=20us",
  "max-num-batched-tokens=8192",
  "kv-cache-size=18000",
  "kv-bytes-per-token=262144",
  "kv-transfer-bandwidth=20",
].map((arg) => `--engine-arg=${arg}`);

const SUBJECTS = [
  { name: AGAINST, flags: ["--engines=4"] },
  { name: "apart", flags: ["--prefill=2", "--decode=2"] },
] as const;

interface Figures {
  readonly ttftMs: readonly number[];
  readonly gapMs: readonly number[];
}

export async function* measureDisaggregation(
  budget: DisaggregationBudget = BUDGET,
): AsyncGenerator<Measurement> {
  const all: Figures[] = [];
  for (const { flags } of SUBJECTS) all.push(await measureSubject(flags, budget));
  const [together, apart] = all as [Figures, Figures];
  yield* compared("ttft_p50", [apart.ttftMs, together.ttftMs], 0.5);
  yield* compared("ttft_p90", [apart.ttftMs, together.ttftMs], 0.9);
  yield* compared("token_gap_p50", [apart.gapMs, together.gapMs], 0.5);
  yield* compared("token_gap_p99", [apart.gapMs, together.gapMs], 0.99);
  yield* compared("token_gap_longest", [apart.gapMs, together.gapMs], 1);
}

function* compared(
  metric: string,
  [apart, together]: readonly [readonly number[], readonly number[]],
  at: number,
): Generator<Measurement> {
  const value = quantile(apart, at);
  const ratio = value / quantile(together, at);
  yield { bench: DISAGGREGATION_NAME, metric, value, unit: "ms", ratio, against: AGAINST };
}

async function measureSubject(
  flags: readonly string[],
  budget: DisaggregationBudget,
): Promise<Figures> {
  const dir = mkdtempSync(join(tmpdir(), "bench-split-"));
  const common = ["up", "--json", "--exit-with-parent", "--port=0", `--state-dir=${dir}`];
  const scale = `--time-scale=${TIME_SCALE}`;
  const up = start(dir, [FAIRLEAD, ...common, scale, ...ENGINE_ARGS, ...flags]);
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connections: null });
  try {
    const ready = (await up.ready) as { url: string; key: string; model: string };
    return await send({ ...ready, agent }, budget);
  } finally {
    await agent.destroy();
    await up.stop();
  }
}

interface Deployment {
  readonly url: string;
  readonly key: string;
  readonly model: string;
  readonly agent: Agent;
}

/** Sends all requests when their time comes, whether or not others have been answered. */
async function send(deployment: Deployment, budget: DisaggregationBudget): Promise<Figures> {
  const rng = createRng(1);
  const figures = { ttftMs: [] as number[], gapMs: [] as number[] };
  const pending: Promise<void>[] = [];
  const startedMs = performance.now();
  let atMs = 0;
  for (let i = 0; i < budget.requests; i++) {
    atMs += (-Math.log(1 - rng()) * 1_000 * TIME_SCALE) / budget.requestsPerSecond;
    const kind = rng() < KINDS[0].share ? KINDS[0] : KINDS[1];
    await sleep(Math.max(0, startedMs + atMs - performance.now()));
    pending.push(sendOne(deployment, { ...kind, seed: i }, figures));
  }
  await Promise.all(pending);
  return figures;
}

interface OneRequest {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly seed: number;
}

async function sendOne(
  { url, key, model, agent }: Deployment,
  { promptTokens, outputTokens, seed }: OneRequest,
  { ttftMs, gapMs }: { ttftMs: number[]; gapMs: number[] },
): Promise<void> {
  const content = Array.from({ length: promptTokens }, (_, i) => `w${seed}x${i}`).join(" ");
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content }],
    max_tokens: outputTokens,
    ignore_eos: true,
    stream: true,
  });
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const sentMs = performance.now();
  const options = { method: "POST", headers, body, dispatcher: agent } as const;
  const answer = await request(`${url}${CHAT_PATH}`, options);
  if (answer.statusCode !== 200) throw new Error(`answered ${answer.statusCode}`);
  let lastMs: number | undefined;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    if (!chunk.includes('"content":"', 0, "latin1")) continue;
    const nowMs = performance.now();
    if (lastMs === undefined) ttftMs.push((nowMs - sentMs) / TIME_SCALE);
    else gapMs.push((nowMs - lastMs) / TIME_SCALE);
    lastMs = nowMs;
  }
}

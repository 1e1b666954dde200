// A full pool ends what can wait for what cannot, with the whole stack running: as long as nobody has
// seen a byte of it, and never after.

import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually, startEngines, startFairlead, type Engines, type Fairlead } from "./harness.ts";

/** Requests that the pool lets through at once. */
const SLOTS = 2;
const TOKENS = 15;
const WAIT_MS = 20_000;

let engine: Engines;
let up: Fairlead;
beforeAll(async () => {
  // Real times are a twentieth: one and a half seconds to the first token, three quarters more until the last.
  const times = ["--time-to-first-token", "30s", "--inter-token-latency", "1s"];
  engine = await startEngines(1, "--time-factor-under-load", "1", ...times);
  up = await startFairlead("--endpoint", engine.origins[0]!);
  await up.configurePool({
    objectives: [{ name: "batch", priority: -1 }],
    allowExperimentalPlugins: true,
    scheduler: {
      featureGates: ["flowControl"],
      plugins: [
        { type: "queue-scorer" },
        { type: "concurrency-detector", parameters: { maxConcurrency: SLOTS } },
      ],
      schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: "queue-scorer" }] }],
      flowControl: {
        enableEviction: true,
        saturationDetector: { pluginRef: "concurrency-detector" },
      },
    },
  });
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  engine?.child.kill("SIGKILL");
});

/** A stream as its client sees it. */
interface Stream {
  status: number;
  headers: Headers;
  text: string;
}

function open(content: string, headers: Record<string, string> = {}) {
  const stream: Stream = { status: 0, headers: new Headers(), text: "" };
  const messages = [{ role: "user", content }];
  const request = { model: up.model, stream: true, max_tokens: TOKENS, ignore_eos: true, messages };
  const read = async () => {
    const response = await up.fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(request),
    });
    stream.status = response.status;
    stream.headers = response.headers;
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      stream.text += chunk;
    }
  };
  return { stream, ended: read() };
}

const openBatch = () =>
  Array.from({ length: SLOTS }, (_, i) =>
    open(`Batch ${i}`, { "x-llm-d-inference-objective": "batch" }),
  );

async function running(): Promise<number> {
  const response = await fetch(`${engine.origins[0]}/sim/state`);
  return ((await response.json()) as { running: number }).running;
}

async function evictions(outcome: string): Promise<number> {
  const series = `fairlead_relay_evictions_total{outcome="${outcome}"} `;
  const lines = (await up.metricsOf("relay-local")).split("\n");
  return Number(lines.find((line) => line.startsWith(series))?.slice(series.length) ?? 0);
}

const isWhole = ({ status, text }: Stream) => status === 200 && text.includes("data: [DONE]");

it("ends the newest that can wait, and no more than are needed", { timeout: 60_000 }, async () => {
  const batch = openBatch();
  await eventually("batch fills the pool", async () => (await running()) === SLOTS || undefined);
  const urgent = open("Urgent");
  await Promise.all([urgent, ...batch].map(({ ended }) => ended));
  expect(isWhole(urgent.stream)).toBe(true);
  const [evicted, ...more] = batch.filter(({ stream }) => stream.status === 429);
  expect(more).toEqual([]);
  const { headers, text } = evicted!.stream;
  expect(headers.get("x-llm-d-request-dropped-reason")).toBe("evicted");
  expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
  expect(JSON.parse(text)).toMatchObject({ error: { type: "rate_limit_error" } });
  expect(batch.filter(({ stream }) => isWhole(stream))).toHaveLength(SLOTS - 1);
  expect(await evictions("ended")).toBe(1);
  await eventually("the engine is idle", async () => (await running()) === 0 || undefined);
});

it("ends nobody whose answer has begun", { timeout: 60_000 }, async () => {
  const before = await evictions("ended");
  const batch = openBatch();
  const hasBegun = () => batch.every(({ stream }) => stream.text !== "");
  await eventually("both streams have begun", () => hasBegun() || undefined, WAIT_MS);
  const urgent = open("Urgent");
  await Promise.all([urgent, ...batch].map(({ ended }) => ended));
  for (const { stream } of [urgent, ...batch]) expect(isWhole(stream)).toBe(true);
  expect(await evictions("ended")).toBe(before);
});

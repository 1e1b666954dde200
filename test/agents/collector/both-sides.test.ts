// A real collector, and what a pool's object makes of its frames: the parts of the object that decode
// and keep them, without the runtime around.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { startCollector, type Collector } from "../../../src/agents/collector/collector.ts";
import { metricsSpecificationSchema } from "../../../src/agents/protocol/metrics-specification.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";
import { AgentFrames } from "../../../src/durable/agent-frames.ts";
import { Endpoints } from "../../../src/durable/endpoints.ts";
import { toScrape } from "../../../src/durable/metrics-rows.ts";
import { DEFAULT_SPECIFICATION } from "../../../src/scheduler/data-layer/compile.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { FakePoolObject } from "../support/pool-object.ts";

const SLOT = 0;
const STALE_AFTER_MS = 500;
const startS = Math.floor(Date.now() / 1_000) - 1_000;

let engine: Server;
let engineText: string;
let object: FakePoolObject;
let collector: Collector;
let directory: string;
let restarts: number;
let endpoints: Endpoints;
let frames: AgentFrames;

const gauge = (name: string, value: number) => `vllm:${name}{engine="0"} ${value}\n`;
const WAITING = gauge("num_requests_waiting", 7);
const OTHERS = gauge("num_requests_running", 3) + gauge("kv_cache_usage_perc", 0.25);
const lora = (active: string) =>
  `vllm:lora_requests_info{max_lora="4",running_lora_adapters="${active}",waiting_lora_adapters=""} 1\n`;
const started = (atS: number) => `process_start_time_seconds ${atS}\n`;

function configure(scrapeIntervalMs: number) {
  const specification = metricsSpecificationSchema.parse(DEFAULT_SPECIFICATION);
  return { t: "configure" as const, scrapeIntervalMs, metrics: [], specification };
}

/** Takes every frame since the last time, as the object does. */
function takeFrames(): void {
  for (const bytes of object.rawFrames.splice(0)) {
    const decoded = frames.decode(bytes);
    if (!decoded.ok) throw new Error(decoded.error);
    const { frame } = decoded;
    if (frame.kind === "membership") {
      endpoints.membership.claim("c", frame.endpoints);
      endpoints.sync();
    }
    if (frame.kind === "metrics") {
      for (const row of frame.rows) {
        endpoints.scraped(row.endpoint.address, toScrape(row, Date.now()));
      }
    }
    if (frame.kind === "models") for (const served of frame.served) endpoints.served(served);
  }
}

const state = () => {
  takeFrames();
  return endpoints.describe(STALE_AFTER_MS)[0];
};
const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

beforeEach(async () => {
  engine = createServer((_request, response) => response.end(engineText)).listen(0, "127.0.0.1");
  await once(engine, "listening");
  engineText = started(startS) + WAITING + OTHERS;
  object = await FakePoolObject.start();
  object.configure = configure(50);
  restarts = 0;
  frames = new AgentFrames(PROTOCOL_VERSION);
  endpoints = new Endpoints({
    clock: Date.now,
    onRemoved: () => undefined,
    onRestarted: () => (restarts += 1),
  });
  endpoints.configure({ specification: DEFAULT_SPECIFICATION, topology: null, problems: [] });
  directory = await mkdtemp(join(tmpdir(), "fairlead-both-sides-"));
  const endpointsPath = join(directory, "endpoints.yaml");
  const { port } = engine.address() as AddressInfo;
  const listed = [{ name: "e", address: "127.0.0.1", port }];
  await writeFile(endpointsPath, JSON.stringify({ endpoints: listed }));
  collector = await startCollector({
    endpointsPath,
    pool: "p",
    agent: "c",
    connect: object.url,
    token: "token",
    logger: captureLogs().logger,
    registry: new MetricRegistry(),
  });
});
afterEach(async () => {
  await collector.close();
  await object.close();
  engine.closeAllConnections();
  engine.close();
  await rm(directory, { recursive: true });
});

it("a new process that has loaded the adapters of the old one is known to have them", async () => {
  engineText += lora("sql");
  await waitFor(() => expect(state()).toMatchObject({ lora: { active: 1, max: 4 } }));
  engineText = started(startS + 500) + WAITING + OTHERS;
  await waitFor(() => expect(state()).toMatchObject({ lora: { active: 0, max: 0 } }));
  expect(restarts).toBe(1);
  engineText += lora("sql");
  await waitFor(() => expect(state()).toMatchObject({ lora: { active: 1, max: 4 } }));
  expect(endpoints.table.columns.adapters.stateOf(SLOT, "sql")).toBe("active");
  // In one sample: the object forgets them and is told them again.
  engineText = engineText.replace(String(startS + 500), String(startS + 900));
  await waitFor(() => {
    takeFrames();
    expect(restarts).toBe(2);
  });
  await waitFor(() => expect(state()).toMatchObject({ lora: { active: 1, max: 4 } }));
});

it("a new process that does not tell its queue is not fresh", async () => {
  await waitFor(() => expect(state()).toMatchObject({ isFresh: true, queueDepth: 7 }));
  engineText = started(startS + 500) + OTHERS;
  await waitFor(() => expect(state()).toMatchObject({ isFresh: false, sampleAgeMs: null }));
  const told = object.frames.length;
  await waitFor(() => expect(object.frames.length).toBeGreaterThan(told + 3));
  expect(state()).toMatchObject({ isFresh: false, scrape: "ok", runningRequests: 3 });
  engineText += WAITING;
  await waitFor(() => expect(state()).toMatchObject({ isFresh: true, queueDepth: 7 }));
});

it("an engine that stops to tell its queue goes stale, also where it is asked anew", async () => {
  await waitFor(() => expect(state()).toMatchObject({ isFresh: true }));
  engineText = started(startS) + OTHERS;
  // Another interval: the collector begins anew, and has never seen a queue.
  object.send(configure(60));
  await waitFor(() => expect(state()).toMatchObject({ isFresh: false, scrape: "ok" }));
  const told = object.frames.length;
  await waitFor(() => expect(object.frames.length).toBeGreaterThan(told + 3));
  expect(state()).toMatchObject({ isFresh: false, scrape: "ok", queueDepth: 7 });
});

// The collector's part against engines that publish: what it makes of their events is what they hold.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { startCollector } from "../../../../src/agents/collector/collector.ts";
import { KvEvents } from "../../../../src/agents/collector/kv-events/kv-events.ts";
import type { EndpointRecord } from "../../../../src/agents/protocol/messages.ts";
import { WIRE_FORMS } from "../../../../src/agents/simulator/kv-events/wire-form.ts";
import type { SimulatorParameters } from "../../../../src/agents/simulator/parameters.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { chat, eventually, post, startEngines } from "../../simulator/harness.ts";
import { captureLogs } from "../../support/logs.ts";
import { FakePoolObject } from "../../support/pool-object.ts";
import { RecordingConsumer } from "./support/recording-consumer.ts";

const CONFIG = {
  enable_kv_cache_events: true,
  publisher: "zmq",
  endpoint: "tcp://127.0.0.1:*",
  replay_endpoint: "tcp://127.0.0.1:*",
  buffer_steps: 10_000,
  hwm: 1_000,
  max_queue_size: 1_000,
  topic: "",
} as const;
const FAST = {
  "time-scale": 0.001,
  "block-size": 4,
  "kv-cache-size": 48,
  "max-model-len": 190,
  "kv-events-config": CONFIG,
};
const TIMING = {
  reconnectMs: 10,
  reconnectMsMax: 50,
  deadLinkMs: 50,
  cooldownMs: 100,
  cooldownMsMax: 100,
};

async function startOne(parameters: Partial<SimulatorParameters> = {}) {
  const engines = await startEngines({ ...FAST, ...parameters });
  const { endpoint, replayEndpoint } = engines.kvEvents[0]!;
  const record: EndpointRecord = {
    id: "ns/e",
    address: `127.0.0.1:${engines.ports[0]}`,
    engine: "vllm",
    labels: {
      "fairlead/kv-events-url": endpoint,
      ...(replayEndpoint ? { "fairlead/kv-replay-url": replayEndpoint } : {}),
    },
  };
  return { ...engines, record };
}

async function follow(endpoints: EndpointRecord[]) {
  const consumer = new RecordingConsumer();
  const registry = new MetricRegistry();
  const events = await KvEvents.start({
    mode: { type: "connect", ports: { events: 1, replay: 0, serving: 0 }, storageUrls: [] },
    consumer,
    registry,
    logger: captureLogs().logger,
    timing: TIMING,
  });
  onTestFinished(() => events.close());
  events.follow(endpoints);
  return { consumer, registry };
}

let serial = 0;
/** A prompt of `count` words, which begins as others do. */
const prompt = (count: number) =>
  Array.from({ length: count }, (_, i) => (i < count / 2 ? `w${i}` : `x${serial}-${i}`)).join(" ");

async function converse(url: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    serial++;
    // Engines that begin anew break requests off.
    const answer = await chat(url, prompt(8 + (serial % 5) * 8), { max_tokens: 4 }).catch(
      () => null,
    );
    await answer?.text().catch(() => undefined);
  }
}

async function truth(url: string): Promise<Record<"gpu" | "cpu", string[]>> {
  const tiers = (await (await fetch(`${url}/sim/kv-cache`)).json()) as Record<string, string[]>;
  const low = (name: string) => tiers[name]!.map((hash) => hash.slice(-16)).toSorted();
  return { gpu: low("gpu"), cpu: low("cpu") };
}

/** Goes on conversing, because a loss shows with the next message only, until both agree. */
async function expectAgreement(url: string, consumer: RecordingConsumer): Promise<void> {
  await eventually(async () => {
    await converse(url, 1);
    const held = await truth(url);
    expect(held.gpu.length).toBeGreaterThan(0);
    expect({ gpu: consumer.held("ns/e"), cpu: consumer.held("ns/e", "cpu") }).toEqual(held);
  });
}

const command = (url: string, body: object) => post(`${url}/sim/kv-events`, body);

describe("what is known of an engine's cache is what it holds", () => {
  it.for(Object.keys(WIRE_FORMS) as (keyof typeof WIRE_FORMS)[])(
    "in the form %s, though a third of the batches gets lost and some come twice",
    async (form) => {
      const engine = await startOne({
        "kv-events-form": WIRE_FORMS[form],
        "kv-events-loss-rate": 33,
        "kv-events-repeat-rate": 20,
        // The oldest form tells no tiers.
        "kv-offloading-blocks": form === "vllm-0.9" ? 0 : 30,
      });
      await converse(engine.url, 5);
      const { consumer } = await follow([engine.record]);
      await converse(engine.url, 25);
      await expectAgreement(engine.url, consumer);
      expect(consumer.calls.filter((call) => call.includes("uncertain"))).toEqual([]);
      expect(consumer.calls.some((call) => call.includes("removed"))).toBe(true);
    },
  );

  it("over restarts, resets and batches that were never kept", async () => {
    const engine = await startOne({ "kv-events-loss-rate": 10 });
    const { consumer } = await follow([engine.record]);
    for (let round = 0; round < 3; round++) {
      await converse(engine.url, 6);
      await expectAgreement(engine.url, consumer);
      await command(engine.url, { action: "restart" });
      await converse(engine.url, 4);
      await expectAgreement(engine.url, consumer);
      await post(`${engine.url}/reset_prefix_cache`, {});
    }
    // Numbers left out are a hole that no replay fills; an emptied cache is known again.
    await command(engine.url, { action: "skip", batches: 2 });
    await converse(engine.url, 2);
    await eventually(async () => {
      await Promise.resolve();
      expect(consumer.calls).toContain("ns/e/0 uncertain history-lost");
    });
    await post(`${engine.url}/reset_prefix_cache`, {});
    await expectAgreement(engine.url, consumer);
    expect(consumer.calls).not.toContain("ns/e/0 uncertain gap");
  });
});

describe("a collector", () => {
  it("follows its endpoints' events and tells of them on its metrics", async () => {
    const engine = await startOne();
    const object = await FakePoolObject.start();
    const directory = await mkdtemp(join(tmpdir(), "fairlead-kv-events-"));
    const endpointsPath = join(directory, "endpoints.yaml");
    const write = (labels: object) =>
      writeFile(
        endpointsPath,
        JSON.stringify({
          endpoints: [
            { name: "e", namespace: "ns", address: "127.0.0.1", port: engine.ports[0], labels },
          ],
        }),
      );
    await write(engine.record.labels);
    const registry = new MetricRegistry();
    const collector = await startCollector({
      endpointsPath,
      pool: "p",
      agent: "c",
      connect: object.url,
      token: "token",
      logger: captureLogs().logger,
      registry,
      kvEvents: {
        mode: { type: "connect", ports: { events: 1, replay: 0, serving: 0 }, storageUrls: [] },
        learnListen: null,
      },
    });
    onTestFinished(async () => {
      await collector.close();
      await object.close();
      await rm(directory, { recursive: true });
    });
    await converse(engine.url, 5);
    const shown = (pattern: RegExp) =>
      eventually(async () => {
        await Promise.resolve();
        expect(registry.render()).toMatch(pattern);
      });
    await shown(/fairlead_kv_event_blocks_total\{endpoint="ns\/e",event="stored"\} [1-9]/);
    expect(registry.render()).toContain('fairlead_kv_events_whole{endpoint="ns/e"} 1');
    await write({ "fairlead/kv-events-url": "tcp://127.0.0.1:1" });
    await shown(/fairlead_kv_events_whole\{endpoint="ns\/e"\} 0/);
  });
});

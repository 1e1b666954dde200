// What a collector tells of a cluster's objectives and rewrites, to objects of this version and before.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Collector, startCollector } from "../../../src/agents/collector/collector.ts";
import { decodeHeader, encodeFrame, FRAME } from "../../../src/agents/protocol/codec.ts";
import type { Configure } from "../../../src/agents/protocol/messages.ts";
import { AgentFrames } from "../../../src/durable/agent-frames.ts";
import { Cluster, FAST, GROUP, pool, POOLS } from "../discovery/kubernetes/harness.ts";
import { kubeconfig } from "../support/kubeconfig.ts";
import { captureLogs } from "../support/logs.ts";
import { FakePoolObject } from "../support/pool-object.ts";
import { pod } from "../support/kubernetes-api.ts";
import { configureOf, ShardedPool } from "../support/sharded-pool.ts";

const OBJECTIVES = "/apis/llm-d.ai/v1alpha2/namespaces/llm/inferenceobjectives";
const PATIENT = { timeout: 10_000, interval: 10 };
const CONFIGURE: Configure = {
  t: "configure",
  scrapeIntervalMs: 60_000,
  metrics: [],
  takesResources: true,
};

let cluster: Cluster;
let object: FakePoolObject;
let collector: Collector | undefined;

beforeEach(async () => {
  cluster = await Cluster.start();
  cluster.api.put(POOLS, pool());
  cluster.api.putPod(pod("a", "127.0.0.1"));
  object = await FakePoolObject.start();
  object.configure = CONFIGURE;
});
afterEach(async () => {
  await collector?.close();
  collector = undefined;
  await object.close();
  await cluster.stop();
});

function put(name: string, priority: number): void {
  const poolRef = { group: GROUP, kind: "InferencePool", name: "llama" };
  const metadata = { name, namespace: "llm" };
  cluster.api.put(OBJECTIVES, { metadata, spec: { poolRef, priority } });
}

async function start(connect = object.url): Promise<void> {
  collector = await startCollector({
    kubernetes: {
      namespace: "llm",
      name: "llama",
      object: { kind: "InferencePool", group: GROUP },
      kubeconfig: kubeconfig(cluster.directory, `http://127.0.0.1:${cluster.api.port}`),
      timing: FAST,
    },
    pool: "p",
    agent: "collector-0",
    connect,
    token: "an-agent-token-for-tests",
    logger: captureLogs().logger,
    registry: cluster.registry,
    sessionTiming: { retryBaseMs: 10, retryCapMs: 20 },
  });
}

const told = () =>
  object.frames.flatMap((frame) => (frame.kind === "resources" ? [frame.resources] : []));

describe("a collector", () => {
  it("tells resources on every change, and again when it is asked", async () => {
    put("gold", 10);
    await start();
    const first = { objectives: [{ name: "gold", priority: 10 }], rewrites: [] };
    await expect.poll(() => told().at(-1), PATIENT).toEqual(first);
    put("gold", 11);
    const second = { objectives: [{ name: "gold", priority: 11 }], rewrites: [] };
    await expect.poll(() => told().at(-1), PATIENT).toEqual(second);
    const before = told().length;
    object.send({ t: "resync", reason: "gap" });
    await expect.poll(() => told().length, PATIENT).toBe(before + 1);
    expect(told().at(-1)).toEqual(second);
    object.socket!.terminate();
    await expect.poll(() => told().length, PATIENT).toBe(before + 2);
  });

  it("tells them to the first of a pool's objects only", async () => {
    const sharded = await ShardedPool.start(2);
    for (const each of sharded.objects) {
      each.configure = { ...configureOf({ count: 2 }), takesResources: true };
    }
    put("gold", 10);
    await start(sharded.url);
    const kindsOf = (shard: number) => sharded.objects[shard]!.frames.map(({ kind }) => kind);
    await expect.poll(() => kindsOf(0), PATIENT).toContain("resources");
    await expect.poll(() => kindsOf(1), PATIENT).toContain("membership");
    put("gold", 11);
    const count = () => kindsOf(0).filter((kind) => kind === "resources").length;
    await expect.poll(count, PATIENT).toBeGreaterThan(1);
    expect(kindsOf(1)).not.toContain("resources");
    await collector!.close();
    await sharded.close();
  });

  it("tells them in frames that a real object decodes", async () => {
    put("gold", 10);
    await start();
    await expect.poll(() => told().length, PATIENT).toBeGreaterThan(0);
    const frame = object.rawFrames.findLast((bytes) => bytes[0] === FRAME.resources)!;
    expect(new AgentFrames(2).decode(frame)).toMatchObject({
      ok: true,
      frame: { kind: "resources", resources: { objectives: [{ name: "gold", priority: 10 }] } },
    });
  });

  it.for([
    ["does not say that it takes them", 2],
    ["is of version 1", 1],
  ] as const)("tells none to an object that %s", async ([, version]) => {
    const { takesResources: _, ...former } = CONFIGURE;
    object.configure = former;
    object.version = version;
    put("gold", 10);
    await start();
    await expect.poll(() => object.frames.length, PATIENT).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(told()).toEqual([]);
  });
});

describe("a RESOURCES frame", () => {
  const encode = (version: number, value: unknown) =>
    encodeFrame({ type: FRAME.resources, version, seq: 1 }, Buffer.from(JSON.stringify(value)));
  const many = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `o${i}` }));

  it("is of version 2", () => {
    expect(decodeHeader(encode(2, {}))).toMatchObject({ ok: true });
    expect(decodeHeader(encode(1, {}))).toEqual({ ok: false, error: "unknown-type" });
  });

  it.for([
    ["64 of a kind", { objectives: many(64), rewrites: many(64) }, true],
    ["65 objectives", { objectives: many(65) }, false],
    ["65 rewrites", { rewrites: many(65) }, false],
    ["one without a name", { objectives: [{ priority: 1 }] }, false],
    ["a kind that nobody knows", { pools: [] }, false],
    ["nothing", {}, true],
  ] as const)("with %s", ([, value, ok]) => {
    expect(new AgentFrames(2).decode(encode(2, value)).ok).toBe(ok);
  });
});

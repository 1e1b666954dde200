// Requests that wait in a full pool, end to end inside workerd: the Worker, the pool's object and its
// queue, over real RPC.

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { endpoint, POOL, poolStub, TestAgent, until } from "../durable/pool-client.ts";
import {
  adminSend,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
  send,
  TENANT_KEY,
} from "./support/deployment.ts";
import type { CapacityCall } from "./support/relay-server.ts";

const ONE_AT_A_TIME = {
  featureGates: ["flowControl"],
  plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency: 1 } }],
  flowControl: { saturationDetector: { pluginRef: "concurrency-detector" } },
};

interface LogLine {
  readonly msg: string;
  readonly attempts?: number;
  readonly queueMs?: number;
  readonly priority?: number;
  readonly ms?: number;
  readonly code?: string;
  readonly dropReason?: string;
}

let collector: TestAgent;
/** Ends what a test has left in the pool. */
const ends: (() => Promise<void>)[] = [];
let lines: LogLine[] = [];

beforeEach(() => {
  lines = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => {
    lines.push(JSON.parse(line) as LogLine);
  });
});

afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  collector.close();
  vi.restoreAllMocks();
});

/** A pool that serves one request at a time, on as many endpoints. */
async function fullPool(count: number, more: object = {}): Promise<void> {
  const config = configuration();
  const [pool, ...others] = config.pools;
  const objectives = [{ name: "batch", priority: -5 }];
  const full = { ...pool!, scheduler: ONE_AT_A_TIME, objectives, ...more };
  await applyConfiguration({ ...config, pools: [full, ...others] });
  await adminSend("/admin/v1/settings", { method: "PATCH", body: '{"requestLog":"all"}' });
  collector = await TestAgent.greeted();
  await addEndpoints(count);
}

async function addEndpoints(count: number): Promise<void> {
  const endpoints = Array.from({ length: count }, (_, i) => endpoint(i + 1));
  collector.membership(endpoints);
  collector.metrics(endpoints.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
  await until(async () => (await poolStub().state()).endpoints.length === count);
}

async function waitingCount(): Promise<number> {
  return (await poolStub().queueState())!.waiting.requests;
}

/** A request that is served for as long as it is not ended. */
async function occupant(): Promise<() => Promise<void>> {
  const response = await chat(chatBody({ user: "endless", stream: true }));
  expect(response.status).toBe(200);
  const end = () => response.body!.cancel();
  ends.push(end);
  return end;
}

async function errorCodeOf(response: Response): Promise<string> {
  return (await response.json<{ error: { code: string } }>()).error.code;
}

describe("a request that finds the pool full", () => {
  it("waits, is served when its turn comes, and is told how long it took", async () => {
    await fullPool(1);
    const end = await occupant();
    const answered = chat(chatBody());
    await until(async () => (await waitingCount()) === 1);
    await scheduler.wait(60);
    await end();
    const response = await answered;
    expect(response.status).toBe(200);
    expect(Number(response.headers.get("x-fairlead-queue-ms"))).toBeGreaterThanOrEqual(50);
    expect(await waitingCount()).toBe(0);
    await response.body?.cancel();
    await until(() => lines.some(({ queueMs }) => queueMs !== undefined));
    await until(async () => (await poolStub().state()).tickets.open === 0);
  });

  it("waits no longer than its header says", async () => {
    await fullPool(1);
    await occupant();
    const response = await chat(chatBody(), { "x-llm-d-inference-ttl": "500ms" });
    expect(response.status).toBe(429);
    expect(response.headers.get("x-llm-d-request-dropped-reason")).toBe("rejected-ttl-expired");
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    // From its arrival: what it took to the queue is not in it.
    const queueMs = Number(response.headers.get("x-fairlead-queue-ms"));
    expect(queueMs).toBeGreaterThan(0);
    expect(await errorCodeOf(response)).toBe("queue_timeout");
    const line = await until(() => lines.find(({ code }) => code === "queue_timeout"));
    expect(line.dropReason).toBe("rejected-ttl-expired");
  });

  it("waits from when its body was complete: a slow upload is no wait", async () => {
    await fullPool(1);
    await occupant();
    const body = new ReadableStream({
      async start(stream) {
        const bytes = new TextEncoder().encode(JSON.stringify(chatBody()));
        stream.enqueue(bytes.subarray(0, 9));
        await scheduler.wait(600);
        stream.enqueue(bytes.subarray(9));
        stream.close();
      },
    });
    const response = await send("/v1/chat/completions", {
      method: "POST",
      body,
      headers: {
        authorization: `Bearer ${TENANT_KEY}`,
        "content-type": "application/json",
        "x-llm-d-inference-ttl": "500ms",
      },
    });
    expect(await errorCodeOf(response)).toBe("queue_timeout");
    const queueMs = Number(response.headers.get("x-fairlead-queue-ms"));
    expect(queueMs).toBeGreaterThanOrEqual(400);
    // The log's own timing has the upload in it.
    const line = await until(() => lines.find(({ code }) => code === "queue_timeout"));
    expect(line.ms).toBeGreaterThanOrEqual(1_000);
  });

  it("waits in the band of its objective, and never above its tenant's ceiling", async () => {
    await fullPool(1);
    const end = await occupant();
    const answered = [
      chat(chatBody(), { "x-llm-d-inference-objective": "batch" }),
      chat(chatBody(), { "x-gateway-inference-objective": "no-such-one" }),
    ];
    await until(async () => (await waitingCount()) === 2);
    const { bands } = (await poolStub().queueState())!;
    const waiting = bands.filter((band) => band.waiting.requests > 0);
    expect(waiting.map(({ priority }) => priority)).toEqual([3, -5]);
    expect(waiting.flatMap(({ flows }) => flows.map(({ fairnessId }) => fairnessId))).toEqual([
      "acme",
      "acme",
    ]);
    await end();
    for (const response of await Promise.all(answered)) expect(response.status).toBe(200);
  });

  it("is gone from the queue as soon as its client is", async () => {
    await fullPool(1);
    const end = await occupant();
    const client = new AbortController();
    const answer = send("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(chatBody()),
      headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
      signal: client.signal,
    }).catch(() => undefined);
    await until(async () => (await waitingCount()) === 1);
    client.abort();
    await answer;
    await until(async () => (await waitingCount()) === 0);
    await until(() => lines.some(({ code }) => code === "client_closed_request"));
    await end();
    await until(async () => (await poolStub().state()).tickets.open === 0);
    expect((await poolStub().queueState())!.inFlight).toBe(0);
  });

  it("outlives the object that it waits in", async () => {
    await fullPool(1);
    const end = await occupant();
    const answered = chat(chatBody());
    await until(async () => (await waitingCount()) === 1);
    await runInDurableObject(poolStub(), (_, ctx) => ctx.abort("reset")).catch(() => undefined);
    await end();
    collector = await TestAgent.greeted();
    await addEndpoints(1);
    const response = await answered;
    expect(response.status).toBe(200);
    expect(lines.filter(({ msg }) => msg === "request")).toMatchObject([{}, { attempts: 1 }]);
    await response.body?.cancel();
  });
});

describe("a pool without endpoints", () => {
  it("is waited for, and somebody is asked for some once", async () => {
    const url = `${inject("relayUrl")}/capacity/${crypto.randomUUID()}`;
    await fullPool(0, { capacityWebhook: { url, token: "webhook-token-0123456789" } });
    const answered = [chat(chatBody()), chat(chatBody()), chat(chatBody())];
    await until(async () => (await waitingCount()) === 3);
    const calls = await until(async () => {
      const called = await (await fetch(url)).json<CapacityCall[]>();
      return called.length > 0 && called;
    });
    expect(calls).toMatchObject([
      {
        authorization: "Bearer webhook-token-0123456789",
        body: { pool: POOL, reason: "no-endpoints" },
      },
    ]);
    await addEndpoints(3);
    for (const response of await Promise.all(answered)) {
      expect(response.status).toBe(200);
      await response.body?.cancel();
    }
    expect(await (await fetch(url)).json()).toHaveLength(1);
    expect((await env.POOLS.state(POOL)).endpoints).toHaveLength(3);
  });
});

import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { encodeFrame, FRAME } from "../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../src/agents/protocol/limits.ts";
import {
  AGENT_SOCKETS_MAX,
  AgentConnections,
  HELLO_DEADLINE_MS,
} from "../../src/durable/agent-connection.ts";
import { DEFAULT_SPECIFICATION } from "../../src/scheduler/data-layer/compile.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { MetricRegistry } from "../../src/telemetry/metrics.ts";
import recorded from "../fixtures/protocol-v1.json" with { type: "json" };
import recorded2 from "../fixtures/protocol-v2.json" with { type: "json" };
import {
  configurePool,
  endpoint,
  pickRequest,
  POOL,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  TestWorker,
  until,
} from "./pool-client.ts";

afterEach(() => reset());

const endpoints = async () => (await poolStub().state()).endpoints;
const queueDepth = async () => (await endpoints())[0]?.queueDepth;

describe("the upgrade", () => {
  it("comes only through the Pools entrypoint", async () => {
    await configurePool();
    const direct = await poolStub().fetch("https://pool/", { headers: { upgrade: "websocket" } });
    expect([direct.status, await direct.text()]).toEqual([
      403,
      "only the Pools entrypoint may ask\n",
    ]);
  });

  it.for([
    [`/agents/v1/${POOL}`, {}, 426],
    ["/agents/v1/Not_A_Pool", { upgrade: "websocket" }, 404],
    ["/agents/v1/other", { upgrade: "websocket" }, 404],
  ] as const)("to %s with %o is answered %i", async ([path, headers, status]) => {
    await configurePool();
    const response = await env.POOLS.fetch(`https://worker${path}`, { headers });
    await response.text();
    expect(response.status).toBe(status);
  });

  it("is refused past the maximum of sockets", async () => {
    await configurePool();
    for (let i = 0; i < AGENT_SOCKETS_MAX; i++) await TestAgent.connect({ agent: `a${i}` });
    await expect(TestAgent.connect()).rejects.toThrow(`503: the pool has ${AGENT_SOCKETS_MAX}`);
  });
});

describe("the hello", () => {
  it("is answered with welcome and configure", async () => {
    await configurePool(1, 350);
    const agent = await TestAgent.greeted();
    const { objectEpoch } = await poolStub().state();
    expect(agent.messages).toMatchObject([
      { t: "welcome", v: 2, objectEpoch, ackedSeq: 0, ackedReport: 0 },
      { t: "configure", scrapeIntervalMs: 350 },
    ]);
    await configurePool(2, 400);
    expect(await agent.received("configure", 2)).toMatchObject({ scrapeIntervalMs: 400 });
  });

  it.for([
    ["of another pool", { pool: "other" }, "wrong-pool"],
    ["of a later version", { v: 9 }, "unsupported-version"],
    ["without a name", { agent: "" }, "bad-hello"],
  ] as const)("%s is refused", async ([, hello, code]) => {
    await configurePool();
    const agent = await TestAgent.connect(hello, POOL);
    agent.hello();
    expect(await agent.received("refused")).toMatchObject({ code });
    expect(await until(() => agent.closed)).toMatchObject({ code: 1008 });
    expect((await poolStub().state()).agents).toEqual([]);
  });

  it("is said once", async () => {
    await configurePool();
    const agent = await TestAgent.greeted();
    agent.hello();
    expect(await agent.received("refused")).toMatchObject({ code: "protocol-error" });
  });

  it("of an agent that is connected already ends its earlier connection", async () => {
    const first = await poolWithEndpoints(1);
    const second = await TestAgent.greeted();
    expect(await until(() => first.closed)).toMatchObject({ code: 4001 });
    expect((await poolStub().state()).agents).toHaveLength(1);
    second.membership([]);
    await until(async () => (await endpoints()).length === 0);
  });

  it("must come in time", async () => {
    let nowMs = 0;
    const left = await runInDurableObject(poolStub(), (_, ctx) => {
      const connections = new AgentConnections({
        ctx,
        objectEpoch: "e",
        clock: () => nowMs,
        registry: new MetricRegistry(),
        events: {
          config: () => undefined,
          acked: () => ({ seq: 0, report: 0 }),
          collectorConnected: () => undefined,
          collectorDisconnected: () => undefined,
          collectorHeard: () => undefined,
          claimed: () => true,
          scraped: () => undefined,
          served: () => undefined,
          specification: () => DEFAULT_SPECIFICATION,
          relayConnected: () => undefined,
          reported: () => undefined,
          marked: () => undefined,
          started: () => undefined,
          kvOffered: () => undefined,
          kvReceived: () => undefined,
          kvLost: () => undefined,
          wantsFirstBytes: () => false,
          resourcesTold: () => undefined,
          tickNeeded: () => undefined,
        },
      });
      connections.accept();
      nowMs = HELLO_DEADLINE_MS - 1;
      connections.closeSilent();
      const before = connections.needsTick;
      nowMs += 1;
      connections.closeSilent();
      return [before, connections.needsTick];
    });
    expect(left).toEqual([true, false]);
  });
});

describe("what breaks the protocol closes the connection:", () => {
  const frame = (bytes: number) => new Uint8Array(bytes);

  it.for([
    ["a frame before the hello", false, frame(12), 1008],
    ["a frame of no known type", true, frame(12), 1008],
    ["a frame over the limit", true, frame(PROTOCOL_LIMITS.frameBytesMax + 1), 1009],
    ["JSON over the limit", false, "x".repeat(PROTOCOL_LIMITS.controlBytesMax + 1), 1009],
    ["text that is no hello", false, "{}", 1008],
  ] as const)("%s", async ([, isGreeted, data, code]) => {
    await configurePool();
    const agent = isGreeted ? await TestAgent.greeted() : await TestAgent.connect();
    agent.send(data);
    expect(await until(() => agent.closed)).toMatchObject({ code });
    expect((await poolStub().state()).agents).toEqual([]);
  });

  it("a relay that lists endpoints", async () => {
    await configurePool();
    const relay = await TestAgent.greeted({ role: "relay" });
    relay.membership([endpoint(1)]);
    expect(await relay.received("refused")).toMatchObject({ code: "protocol-error" });
    expect(await endpoints()).toEqual([]);
  });
});

describe("marks", () => {
  it("of a relay keep decisions away from an endpoint, until it takes them back", async () => {
    await poolWithEndpoints(2);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const { address } = endpoint(1);
    relay.marks([
      { endpoint: address, leaseMs: 20_000, why: "refused" },
      { endpoint: "10.9.9.9:1", leaseMs: 20_000, why: "reset" },
    ]);
    const ejectedMs = async () => (await endpoints()).map((e) => (e.ejectedMs ?? 0) > 0);
    await until(async () => (await ejectedMs())[0]);
    expect(await ejectedMs()).toEqual([true, false]);
    relay.marks([{ endpoint: address, leaseMs: 0, why: "answered" }]);
    await until(async () => !(await ejectedMs())[0]);
  });

  it("of a collector, and its reports, break the protocol", async () => {
    await configurePool();
    const one = await TestAgent.greeted({ agent: "c1" });
    one.marks([]);
    expect(await one.received("refused")).toMatchObject({ code: "protocol-error" });
    const two = await TestAgent.greeted({ agent: "c2" });
    two.reports([]);
    expect(await two.received("refused")).toMatchObject({ code: "protocol-error" });
  });
});

describe("reports", () => {
  it("that skip what the relay still holds are not applied, and asked for again once", async () => {
    await configurePool();
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    relay.reports([], { first: 1 });
    relay.reports([], { first: 5 });
    relay.reports([], { first: 6 });
    expect(await relay.received("resync")).toMatchObject({ reason: "gap" });
    relay.reports([], { oldest: 7, first: 7 });
    await until(() =>
      relay.messages.find((message) => message.t === "ack" && message.report === 6),
    );
    expect(relay.messages.filter((message) => message.t === "resync")).toHaveLength(1);
  });
});

describe("an agent of the release before", () => {
  const { agent } = recorded;
  const bytes = (hex: string) => Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16));

  async function replay({ hello, frames }: { hello: string; frames: readonly string[] }) {
    const connection = await TestAgent.connect();
    connection.send(hello);
    const welcome = await connection.received("welcome");
    for (const frame of frames) connection.send(bytes(frame));
    return { connection, welcome };
  }

  it("is answered in its version and its collector's frames are understood", async () => {
    await configurePool();
    const { connection, welcome } = await replay(agent.collector);
    expect(welcome).toEqual({ ...welcome, v: 1, ackedSeq: 0 });
    expect(Object.keys(welcome)).not.toContain("ackedReport");
    await until(async () => (await endpoints())[0]?.isFresh);
    expect(await endpoints()).toMatchObject([
      { address: agent.collector.engineAddress, queueDepth: 3, runningRequests: 2, kvUsage: 0.5 },
      { address: "127.0.0.1:1", scrape: "unreachable", isFresh: false },
    ]);
    expect(connection.closed).toBeUndefined();
  });

  it("that knows no specification is understood, and one of version 1 is not sent any", async () => {
    await configurePool();
    const collector = recorded2.agent.collector;
    const { connection } = await replay(collector);
    await until(async () => (await endpoints())[1]?.scrape === "unreachable");
    expect(await endpoints()).toMatchObject([
      { address: collector.engineAddress, isFresh: true, runningRequests: 2, kvUsage: 0.5 },
      { address: "127.0.0.1:1", scrape: "unreachable" },
    ]);
    // A later frame says 4, of a sample that may look older: they were recorded over a second.
    expect([3, 4]).toContain(await queueDepth());
    expect(connection.closed).toBeUndefined();
    expect(await connection.received("configure")).toHaveProperty("specification");
    const older = await replay(agent.collector);
    expect(await older.connection.received("configure")).not.toHaveProperty("specification");
    const { connection: relay } = await replay(recorded2.agent.relay);
    await until(() => relay.messages.find((message) => message.t === "ack"));
    expect(relay.closed).toBeUndefined();
  });

  it("is acknowledged by frame, and told nothing it does not know", async () => {
    await configurePool();
    const { connection } = await replay(agent.relay);
    const seq = agent.relay.frames.length;
    await until(() =>
      connection.messages.find((message) => message.t === "ack" && message.seq === seq),
    );
    expect(connection.closed).toBeUndefined();
    expect(JSON.stringify(connection.messages)).not.toMatch(/"(report|ackedReport)"/);
    const metrics = await poolStub().metrics();
    expect(metrics).toContain(`fairlead_agent_frames_total{outcome="ok"} ${seq}`);
  });

  it("must keep to the version that was agreed", async () => {
    await configurePool();
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0", v: 1 });
    relay.send(encodeFrame({ type: FRAME.tickets, version: 2, seq: 1 }, new Uint8Array()));
    expect(await relay.received("refused")).toMatchObject({
      code: "protocol-error",
      message: "a frame is unsupported-version",
    });
  });
});

describe("metrics", () => {
  it("reach the endpoints, complete from differences", async () => {
    const collector = await poolWithEndpoints(1);
    collector.metrics([{ endpoint: 0, fields: [3, 5, 0.5, 16, 1_000] }]);
    collector.metrics([{ endpoint: 0, fields: [4] }]);
    await until(async () => (await queueDepth()) === 4);
    expect(await endpoints()).toMatchObject([
      { scrape: "ok", runningRequests: 5, kvUsage: 0.5, kvCapacityTokens: 16_000 },
    ]);
  });

  it("of two collectors: the newest sample counts, whole", async () => {
    const one = await poolWithEndpoints(2);
    const two = await TestAgent.greeted({ agent: "collector-1" });
    two.membership([endpoint(1)]);
    one.metrics([{ endpoint: 0, fields: [5] }]);
    await until(async () => (await queueDepth()) === 5);
    two.metrics([{ endpoint: 0, fields: [9, 1, 0.1, 16, 4_000] }]);
    await until(async () => (await queueDepth()) === 9);
    // Older than what is known, in one frame with a row that is not.
    one.metrics([
      { endpoint: 0, fields: [1], ageMs: 5_000 },
      { endpoint: 1, fields: [4] },
    ]);
    await until(async () => (await endpoints())[1]?.queueDepth === 4);
    expect(await queueDepth()).toBe(9);
    // Nothing changed as the first collector saw it: its queue is still 1, not the other's 9.
    one.metrics([{ endpoint: 0 }]);
    await until(async () => (await queueDepth()) === 1);
    expect(await endpoints()).toHaveLength(2);
  });

  it("of an endpoint that another collector found elsewhere are not taken", async () => {
    const one = await poolWithEndpoints(1);
    const two = await TestAgent.greeted({ agent: "collector-1" });
    two.membership([{ ...endpoint(1), address: "10.7.7.7:8000" }]);
    await until(async () => (await endpoints())[0]?.address === "10.7.7.7:8000");
    one.metrics([{ endpoint: 0, fields: [7, 7, 0.7, 16, 4_000] }]);
    two.metrics([{ endpoint: 0, fields: [2, 2, 0.2, 16, 4_000] }]);
    await until(async () => (await queueDepth()) === 2);
    one.metrics([{ endpoint: 0, fields: [8] }]);
    two.metrics([{ endpoint: 0, fields: [3] }]);
    await until(async () => (await queueDepth()) === 3);
    expect(await endpoints()).toMatchObject([{ address: "10.7.7.7:8000", runningRequests: 2 }]);
  });

  it("that are partial bring their values and do not count as newer", async () => {
    const collector = await poolWithEndpoints(1);
    const ageMs = async () => (await endpoints())[0]!.sampleAgeMs!;
    collector.metrics([{ endpoint: 0, ageMs: 5_000, fields: [1] }]);
    collector.metrics([{ endpoint: 0, fields: [2], isPartial: true }]);
    await until(async () => (await queueDepth()) === 2);
    const before = await ageMs();
    await until(async () => (await ageMs()) > before + 30);
    collector.metrics([{ endpoint: 0, fields: [3] }]);
    await until(async () => (await queueDepth()) === 3);
    expect(await ageMs()).toBeLessThan(before + 30);
  });

  it("that show a new process end what was believed of the cache", async () => {
    const collector = await poolWithEndpoints(1);
    using worker = new TestWorker();
    const matched = async (requestId: string) => {
      const grant = await worker.pick(pickRequest(requestId));
      if (!grant.ok) throw new Error(grant.detail);
      await worker.release("unmetered");
      const { explanation } = await poolStub().explain(requestId);
      return explanation!.attempts[0]!.candidates[0]!.matchedBlocks;
    };
    const started = async (startS: number) => {
      collector.metrics([{ endpoint: 0, fields: [startS, 0, 0, 16, 4_000, startS] }]);
      await until(async () => ((await queueDepth()) ?? 0) >= startS);
    };
    await started(1_000);
    expect(await matched("r1")).toBe(0);
    expect(await matched("r2")).toBeGreaterThan(0);
    await started(2_000);
    expect(await matched("r3")).toBe(0);
  });

  it("that show a new process end what plugins believed of its memory, and a shadow's", async () => {
    const collector = await poolWithEndpoints(1);
    const refs = [{ pluginRef: "mm-embeddings-cache-scorer" }, { pluginRef: "max-score-picker" }];
    const scheduler = schedulerConfigSchema.parse({
      plugins: refs.map(({ pluginRef: type }) => ({ type })),
      schedulingProfiles: [{ name: "default", plugins: refs }],
    });
    const config = { name: POOL, scrapeIntervalMs: 200, scheduler, shadowScheduler: scheduler };
    await poolStub().configure(config, 2);
    using worker = new TestWorker();
    const media = { hashes: Uint32Array.of(1, 2), tokens: Uint32Array.of(100) };
    const scored = async (requestId: string) => {
      const grant = await worker.pick(pickRequest(requestId, { media }));
      if (!grant.ok) throw new Error(grant.detail);
      await worker.release("unmetered");
      const { explanation } = await poolStub().explain(requestId);
      return explanation!.attempts[0]!.candidates[0]!.scores;
    };
    const started = async (startS: number) => {
      collector.metrics([{ endpoint: 0, fields: [startS, 0, 0, 16, 4_000, startS] }]);
      await until(async () => ((await queueDepth()) ?? 0) >= startS);
    };
    await started(1_000);
    const cold = await scored("r1");
    expect(await scored("r2")).not.toEqual(cold);
    await started(2_000);
    expect(await scored("r3")).toEqual(cold);
    expect((await poolStub().state()).shadow).toMatchObject({ isRunning: true, same: 3 });
  });

  it("are awaited as often as their source is asked", async () => {
    const configure = (version: number, parameters: object) =>
      poolStub().configure(
        {
          name: POOL,
          scrapeIntervalMs: 200,
          scheduler: schedulerConfigSchema.parse({
            plugins: [
              { type: "queue-scorer" },
              { type: "metrics-data-source", parameters },
              { type: "core-metrics-extractor" },
            ],
            dataLayer: {
              sources: [
                {
                  pluginRef: "metrics-data-source",
                  extractors: [{ pluginRef: "core-metrics-extractor" }],
                },
              ],
            },
          }),
        },
        version,
      );
    await configure(1, {});
    const before = (await poolStub().state()).staleAfterMs;
    await configure(2, { interval: "2s" });
    expect((await poolStub().state()).staleAfterMs).toBeGreaterThan(before + 2_000);
    const agent = await TestAgent.greeted();
    expect(await agent.received("configure")).toMatchObject({
      specification: { metrics: { intervalMs: 2_000 } },
    });
  });

  it("after a gap wait for what is asked for again", async () => {
    const collector = await poolWithEndpoints(1);
    collector.skip(1);
    collector.metrics([{ endpoint: 0, fields: [6] }]);
    expect(await collector.received("resync")).toMatchObject({ reason: "gap" });
    expect(await queueDepth()).toBe(0);
    collector.membership([endpoint(1)]);
    collector.metrics([{ endpoint: 0, fields: [8, 0, 0, 16, 4_000] }]);
    await until(async () => (await queueDepth()) === 8);
  });
});

describe("models", () => {
  it("of a collector are known of its endpoints, and a relay knows none", async () => {
    const collector = await poolWithEndpoints(1);
    const [source, extractor] = ["models-data-source", "models-data-extractor"];
    const scheduler = schedulerConfigSchema.parse({
      plugins: [{ type: "queue-scorer" }, { type: source }, { type: extractor }],
      dataLayer: { sources: [{ pluginRef: source, extractors: [{ pluginRef: extractor }] }] },
    });
    const pool = { name: POOL, scrapeIntervalMs: 200 };
    await poolStub().configure({ ...pool, scheduler }, 2);
    const lora = { active: [1], waiting: [], max: 4 };
    const served = { names: ["base", "sql"], endpoints: [{ endpoint: 0, lora, models: [0, 1] }] };
    collector.models(served);
    await until(async () => (await endpoints())[0]?.models);
    expect(await endpoints()).toMatchObject([
      { lora: { active: 1, waiting: 0, max: 4 }, models: ["base", "sql"] },
    ]);
    await poolStub().configure({ ...pool, scheduler: schedulerConfigSchema.parse({}) }, 3);
    expect((await endpoints())[0]).not.toHaveProperty("models");
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    relay.models(served);
    await poolStub().state();
    const metrics = await until(async () => {
      const text = await poolStub().metrics();
      return text.includes('fairlead_agent_frames_total{outcome="early"} 1') && text;
    });
    expect(metrics).toBeDefined();
  });
});

describe("hibernation", () => {
  it("ends with a new welcome, and the agent's next words are understood", async () => {
    const collector = await poolWithEndpoints(2);
    const before = (await collector.received("welcome")).objectEpoch;
    await evictDurableObject(poolStub());
    // Wakes the object; rows without a membership mean nothing to it yet.
    collector.metrics([{ endpoint: 0, fields: [6] }]);
    const welcome = await collector.received("welcome", 2);
    expect(welcome.objectEpoch).not.toBe(before);
    await collector.received("configure", 2);
    expect(collector.closed).toBeUndefined();
    collector.membership([endpoint(2)]);
    collector.metrics([{ endpoint: 0, fields: [2, 0, 0, 16, 4_000] }]);
    await until(async () => (await queueDepth()) === 2);
    expect(await endpoints()).toMatchObject([{ id: endpoint(2).id, isFresh: true }]);
    expect((await poolStub().state()).agents).toMatchObject([{ agent: "collector-0" }]);
  });

  it("tells of the pool's shards at once: who hears of one object leaves the others", async () => {
    const scheduler = schedulerConfigSchema.parse({});
    const shard = { index: 0, count: 3 };
    await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler, shard }, 1);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    await evictDurableObject(poolStub());
    relay.reports([], { oldest: 1, first: 1 });
    await relay.received("configure", 2);
    const configures = relay.messages.filter((message) => message.t === "configure");
    expect(configures.map(({ shards }) => shards?.count)).toEqual([3, 3]);
  });

  it("does not take what was under way for more than it is", async () => {
    await configurePool();
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    await evictDurableObject(poolStub());
    // Sent before the second welcome arrived: the object that wakes knows of no report before it.
    relay.reports([], { oldest: 1, first: 4 });
    expect(await relay.received("welcome", 2)).toMatchObject({ ackedReport: 0 });
    relay.reports([], { oldest: 4, first: 4 });
    expect(await relay.received("ack")).toMatchObject({ report: 3 });
    expect(relay.messages.filter((message) => message.t === "resync")).toEqual([]);
  });
});

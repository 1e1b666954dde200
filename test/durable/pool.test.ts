import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { PickGrant, PickResult } from "../../src/durable/contract.ts";
import { EXCLUDE_MAX } from "../../src/durable/decider.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { OUTPUT_TOKENS_RESERVED_MAX } from "../../src/scheduler/model/inference-request.ts";
import { replayAttempt } from "../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../src/scheduler/decisions/replay-document.ts";
import {
  closed,
  configurePool,
  contentKeys,
  endpoint,
  opened,
  pickRequest,
  POOL,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  until,
  TestWorker,
} from "./pool-client.ts";

afterEach(() => reset());

function granted(result: PickResult): PickGrant {
  if (!result.ok) throw new Error(`${result.reason}: ${result.detail}`);
  return result;
}
const openTickets = async () => (await poolStub().state()).tickets.open;
const inFlight = async () =>
  (await poolStub().state()).endpoints.reduce((sum, e) => sum + e.inFlightRequests, 0);

describe("a pool that is not configured", () => {
  it("refuses picks and says so", async () => {
    using worker = new TestWorker();
    expect(await worker.pick(pickRequest("r"))).toMatchObject({
      ok: false,
      reason: "rejected-no-endpoints",
      detail: "the pool is not configured",
    });
    expect(await env.POOLS.state(POOL)).toMatchObject({ isConfigured: false, endpoints: [] });
    expect(await env.POOLS.explain(POOL, "r")).toMatchObject({
      isConfigured: false,
      explanation: null,
    });
  });

  it("refuses again once it is retired, and sends its agents away", async () => {
    const collector = await poolWithEndpoints(1);
    await poolStub().retire(2);
    using worker = new TestWorker();
    expect(await worker.pick(pickRequest("r"))).toMatchObject({ ok: false });
    expect(await until(() => collector.closed)).toMatchObject({ code: 1013 });
    await expect(TestAgent.connect()).rejects.toThrow("404: pool eu-1 is not configured");
  });
});

describe("picks", () => {
  it("list endpoints in order, and a ticket that loads the first", async () => {
    await poolWithEndpoints(3);
    using worker = new TestWorker();
    const grant = granted(await worker.pick(pickRequest("r")));
    expect(grant.endpoints).toHaveLength(3);
    const loaded = (await poolStub().state()).endpoints.filter((e) => e.inFlightRequests > 0);
    expect(loaded).toMatchObject([
      { address: grant.endpoints[0], inFlightRequests: 1, inFlightTokens: 1_380, queueDepth: 1 },
    ]);
  });

  it("are idempotent by request and attempt, also from another handle", async () => {
    await poolWithEndpoints(3);
    using first = new TestWorker();
    using second = new TestWorker();
    const grant = await first.pick(pickRequest("r"));
    expect(await second.pick(pickRequest("r"))).toEqual(grant);
    expect(await second.pick({ ...pickRequest("r"), attempt: 1 })).not.toEqual(grant);
    expect(await openTickets()).toBe(2);
  });

  it("leave excluded endpoints out", async () => {
    await poolWithEndpoints(2);
    using worker = new TestWorker();
    const exclude = [endpoint(1).address, "10.9.9.9:1"];
    const grant = granted(await worker.pick({ ...pickRequest("r"), exclude }));
    expect(grant.endpoints).toEqual([endpoint(2).address]);
  });

  it("look at a bounded number of excluded endpoints", async () => {
    await poolWithEndpoints(1);
    using worker = new TestWorker();
    const unknown = Array.from({ length: EXCLUDE_MAX }, (_, i) => `10.9.9.9:${i + 1}`);
    const exclude = [...unknown, endpoint(1).address];
    expect(granted(await worker.pick({ ...pickRequest("r1"), exclude })).endpoints).toHaveLength(1);
    expect(await worker.pick({ ...pickRequest("r2"), exclude: exclude.slice(1) })).toMatchObject({
      ok: false,
      reason: "rejected-no-endpoints",
    });
  });

  it("reserve uncached input and a bounded output", async () => {
    await poolWithEndpoints(1);
    using worker = new TestWorker();
    granted(await worker.pick(pickRequest("r", { outputTokensMax: 100_000 })));
    expect((await poolStub().state()).endpoints).toMatchObject([
      { inFlightTokens: 1_280 + OUTPUT_TOKENS_RESERVED_MAX },
    ]);
  });

  it("spread a burst between two samples", async () => {
    await poolWithEndpoints(4);
    using worker = new TestWorker();
    const first = new Set<string>();
    for (let i = 0; i < 4; i++) {
      const shape = { keys: contentKeys(100 + i) };
      first.add(granted(await worker.pick(pickRequest(`r${i}`, shape))).endpoints[0]!);
    }
    expect(first.size).toBe(4);
  });

  it("write nothing", async () => {
    await poolWithEndpoints(2);
    // The collector's claim was written; what follows must not be more.
    await runInDurableObject(poolStub(), (_, { storage }) => {
      storage.sql.exec = () => {
        throw new Error("a write on the way of a pick");
      };
    });
    using worker = new TestWorker();
    expect(granted(await worker.pick(pickRequest("r"))).ok).toBe(true);
    await worker.release("cancelled");
  });
});

describe("a ticket's load", () => {
  it("leaves with the handle", async () => {
    await poolWithEndpoints(1);
    {
      using worker = new TestWorker();
      granted(await worker.pick(pickRequest("r")));
      expect(await inFlight()).toBe(1);
    }
    await until(async () => (await inFlight()) === 0);
  });

  it("outlives the handle once a relay has taken it, until the relay reports", async () => {
    await poolWithEndpoints(1);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    let grant: PickGrant;
    {
      using worker = new TestWorker();
      grant = granted(await worker.pick(pickRequest("r")));
      relay.reports([opened(grant)]);
      await relay.received("ack");
    }
    await scheduler.wait(50);
    expect(await inFlight()).toBe(1);
    relay.reports([closed(grant)]);
    await until(async () => (await inFlight()) === 0);
  });

  it.for(["cancelled", "relay-unreachable", "unmetered"] as const)(
    "leaves when the Worker says %s",
    async (how) => {
      await poolWithEndpoints(1);
      using worker = new TestWorker();
      granted(await worker.pick(pickRequest("r")));
      await worker.release(how);
      expect(await inFlight()).toBe(0);
      expect(await poolStub().metrics()).toContain(
        `fairlead_tickets_total{released_by="${how}"} 1`,
      );
    },
  );

  it("leaves on cancel", async () => {
    await poolWithEndpoints(1);
    using worker = new TestWorker();
    granted(await worker.pick(pickRequest("r")));
    await worker.release("cancelled");
    expect(await inFlight()).toBe(0);
  });

  it("goes with an endpoint that leaves", async () => {
    const collector = await poolWithEndpoints(2);
    using worker = new TestWorker();
    granted(await worker.pick({ ...pickRequest("r"), exclude: [endpoint(2).address] }));
    collector.membership([endpoint(2), endpoint(3)]);
    await until(async () =>
      (await poolStub().state()).endpoints.some((e) => e.id === endpoint(3).id),
    );
    expect(await inFlight()).toBe(0);
    await worker.release("cancelled");
    expect(await inFlight()).toBe(0);
  });
});

describe("prefixes", () => {
  it("are learned where the relay says the request was served", async () => {
    await poolWithEndpoints(8);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const keys = contentKeys(5);
    using worker = new TestWorker();
    const first = granted(await worker.pick(pickRequest("r1", { keys })));
    const served = first.endpoints[1]!;
    relay.reports([opened(first), closed(first, served)]);
    await relay.received("ack");
    for (let i = 0; i < 5; i++) {
      const next = granted(await worker.pick(pickRequest(`again-${i}`, { keys })));
      expect(next.endpoints[0]).toBe(served);
      await worker.release("relay-unreachable");
    }
  });
});

describe("explain", () => {
  it("tells the decision and how it went", async () => {
    await poolWithEndpoints(3);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    using worker = new TestWorker();
    const grant = granted(await worker.pick(pickRequest("r1")));
    relay.reports([closed(grant)]);
    await relay.received("ack");
    const { explanation, objectEpoch } = await env.POOLS.explain(POOL, "r1");
    expect(objectEpoch).toBe(grant.objectEpoch);
    expect(explanation?.attempts).toMatchObject([
      {
        attempt: 0,
        tenant: "acme",
        configVersion: 1,
        candidateCount: 3,
        chosen: grant.endpoints,
        dropped: null,
        result: { endpoint: grant.endpoints[0], outcome: "ok", cachedTokens: 1_024 },
      },
    ]);
    expect((await env.POOLS.explain(POOL, "r2")).explanation).toBeNull();
  });

  it("tells with a grant, also asked again, which headers the client is to get", async () => {
    await poolWithEndpoints(2);
    const scheduler = schedulerConfigSchema.parse({
      plugins: [{ type: "destination-endpoint-served-verifier" }, { type: "random-picker" }],
      schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: "random-picker" }] }],
    });
    await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler }, 2);
    using worker = new TestWorker();
    const first = granted(await worker.pick(pickRequest("a")));
    const name = "x-conformance-test-served-endpoint";
    expect(first.responseHeaders).toEqual([{ name, values: first.endpoints }]);
    expect(granted(await worker.pick(pickRequest("a"))).responseHeaders).toEqual(
      first.responseHeaders,
    );
  });

  it("carries the configuration that decided, also after another is in force", async () => {
    await poolWithEndpoints(2);
    using worker = new TestWorker();
    granted(await worker.pick(pickRequest("before")));
    const before = schedulerConfigSchema.parse({});
    const after = schedulerConfigSchema.parse({
      plugins: [{ type: "queue-scorer" }, { type: "max-score-picker" }],
      schedulingProfiles: [
        {
          name: "default",
          plugins: [{ pluginRef: "queue-scorer", weight: 7 }, { pluginRef: "max-score-picker" }],
        },
      ],
    });
    const config = { name: POOL, scrapeIntervalMs: 200 };
    await poolStub().configure({ ...config, scheduler: before }, 2);
    granted(await worker.pick(pickRequest("between")));
    await poolStub().configure({ ...config, scheduler: after }, 3);
    granted(await worker.pick(pickRequest("after")));
    for (const [requestId, configVersion, scheduler] of [
      ["before", 1, before],
      ["between", 2, before],
      ["after", 3, after],
    ] as const) {
      const { explanation } = await env.POOLS.explain(POOL, requestId);
      expect(explanation!.attempts).toMatchObject([{ configVersion, scheduler }]);
      const parsed = parseReplayable(explanation);
      const [attempt] = parsed.ok ? parsed.value.attempts : [];
      expect(replayAttempt(attempt!).isSame).toBe(true);
    }
  });
});

describe("usage", () => {
  const stored = () =>
    runInDurableObject(poolStub(), (_, { storage }) =>
      storage.sql.exec("SELECT * FROM usage").toArray(),
    );

  it("is durable before a report is acknowledged, and counted once", async () => {
    await poolWithEndpoints(1);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    using worker = new TestWorker();
    const [one, two] = [
      granted(await worker.pick(pickRequest("r1"))),
      granted(await worker.pick(pickRequest("r2"))),
    ];
    relay.reports([opened(one), closed(one), closed(one)]);
    relay.reports([closed(two), closed(one), opened(two)]);
    await until(() => relay.messages.find((message) => message.t === "ack" && message.seq === 2));
    expect(await stored()).toEqual([
      {
        tenant: "acme",
        model: "m",
        requests: 2,
        estimated_requests: 0,
        prompt_tokens: 2_600,
        cached_tokens: 2_048,
        completion_tokens: 180,
      },
    ]);
    expect(await openTickets()).toBe(0);
    const again = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    expect(await again.received("welcome")).toMatchObject({ ackedSeq: 2 });
  });

  it("shows in the metrics", async () => {
    await poolWithEndpoints(1);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    using worker = new TestWorker();
    relay.reports([closed(granted(await worker.pick(pickRequest("r1"))))]);
    await relay.received("ack");
    const text = await env.POOLS.metrics(POOL);
    for (const line of [
      'llm_d_epp_ready_endpoints{name="eu-1"} 1',
      'fairlead_agents_connected{role="relay"} 1',
      'fairlead_tickets_open{name="eu-1"} 0',
      'fairlead_tickets_total{released_by="report"} 1',
      "llm_d_epp_request_cached_tokens_sum",
      'llm_d_epp_scheduler_attempts_total{status="success",target_model_name="m",endpoint_name="default/e1"} 1',
    ]) {
      expect(text).toContain(line);
    }
  });
});

describe("an object that lost its memory", () => {
  it("picks at once among the endpoints it remembers, under a new epoch", async () => {
    await poolWithEndpoints(2);
    const before = (await poolStub().state()).objectEpoch;
    await evictDurableObject(poolStub(), { webSockets: "close" });
    using worker = new TestWorker();
    const grant = granted(await worker.pick(pickRequest("r")));
    expect(grant.endpoints).toHaveLength(2);
    expect(grant.objectEpoch).not.toBe(before);
    expect((await poolStub().state()).endpoints).toMatchObject([
      { sampleAgeMs: null, isFresh: false },
      { sampleAgeMs: null, isFresh: false },
    ]);
  });

  it("keeps its configuration", async () => {
    await configurePool(7, 500);
    await evictDurableObject(poolStub());
    expect(await poolStub().state()).toMatchObject({
      isConfigured: true,
      configVersion: 7,
      staleAfterMs: 2_500,
    });
  });
});

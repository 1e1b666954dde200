// What a pool's object is told of a request, and what comes back with its grant.

import { describe, expect, inject, it } from "vitest";
import type { PickRequest, PoolPort } from "../../../src/durable/contract.ts";
import { parseDeployment } from "../../../src/config/deployment.ts";
import { createCall } from "../../../src/worker/call.ts";
import { DirectoryIndex } from "../../../src/worker/directory-index.ts";
import { openaiParser } from "../../../src/worker/openai/openai-parser.ts";
import { prepareFor } from "../../../src/worker/parsers/preparation.ts";
import { RequestTelemetry } from "../../../src/worker/telemetry.ts";
import type { Tenant } from "../../../src/worker/tenant.ts";
import { dispatch } from "../../../src/worker/upstream/dispatch.ts";
import { RELAY_KEY } from "../support/relay-key.ts";
import type { CapacityCall } from "../support/relay-server.ts";
import { place, refuses, ScriptedObject } from "../support/scripted-object.ts";

const PATH = "/v1/chat/completions";
const IMAGE = { type: "image_url", image_url: { url: "https://example.com/a.png" } };
const ENDPOINTS = ["10.0.0.1:8000", "10.0.0.2:8000"];
const TENANT: Tenant = {
  id: "t",
  priority: 10,
  weight: 3,
  isolated: false,
  trustedHop: false,
  regions: ["*"],
  models: ["*"],
  jurisdictions: ["*"],
  variantFallback: false,
};
/** When the body was complete. */
const RECEIVED_AT_MS = 1_700_000_000_000;
const OBJECTIVES = [
  { name: "urgent", priority: 100, ttftSloMs: 400 },
  { name: "batch", priority: -5 },
];

interface Way {
  readonly wanted?: readonly string[];
  readonly tenant?: Partial<Tenant>;
  /** Of the pools to try, in their order. */
  readonly ports?: readonly PoolPort[];
  readonly webhookUrl?: string;
}

/** An object that grants at once, and what it was asked. */
function granting(): { readonly asked: PickRequest[]; readonly port: PoolPort } {
  const asked: PickRequest[] = [];
  const port: PoolPort = {
    pick: (request) => {
      asked.push(request);
      return Promise.resolve({
        ok: true,
        ticket: `t-${crypto.randomUUID()}`,
        endpoints: ENDPOINTS,
        objectEpoch: "e",
        responseHeaders: [{ name: "x-session-token", values: ["first", "second"] }],
        handle: {
          release: () => Promise.resolve(),
          learn: () => Promise.resolve(),
          settle: () => Promise.resolve(),
        },
        [Symbol.dispose]: () => undefined,
      });
    },
    leave: () => Promise.resolve(),
  };
  return { asked, port };
}

function directory(webhookUrl: string | undefined): DirectoryIndex {
  const pool = {
    region: "eu",
    models: ["m"],
    agentToken: "agent-token-0123456789",
    relays: [{ url: inject("relayUrl"), keys: [RELAY_KEY] }],
    objectives: OBJECTIVES,
    ...(webhookUrl === undefined ? {} : { capacityWebhook: { url: webhookUrl } }),
  };
  const parsed = parseDeployment({
    version: 1,
    pools: ["p0", "p1", "p2"].map((name) => ({ ...pool, name })),
    tenants: [
      { id: "t", keys: ["a-key-0123456789"], weight: TENANT.weight },
      { id: "light", keys: ["another-key-0123"], weight: 0.5 },
    ],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return new DirectoryIndex(1, parsed.value);
}

/** Dispatches a request with these headers over the pools of `ports`. */
async function sent(headers: Record<string, string>, way: Way = {}) {
  const { wanted = [], ports = [granting().port] } = way;
  const messages = [{ role: "user", content: [IMAGE] }];
  const bytes = Uint8Array.from(new TextEncoder().encode(JSON.stringify({ model: "m", messages })));
  const request = new Request("https://fairlead.test", { headers });
  const input = { path: PATH, bytes, headers: request.headers };
  const parsed = openaiParser.parse(input);
  if (!parsed.ok) throw new Error(parsed.error.message);
  const call = createCall(request);
  const telemetry = new RequestTelemetry(call, PATH);
  const tenant = { ...TENANT, ...way.tenant };
  const index = directory(way.webhookUrl);
  const held: Promise<void>[] = [];
  const dispatched = await dispatch({
    call,
    telemetry,
    tenant,
    receivedAtMs: RECEIVED_AT_MS,
    weightOf: (id) => index.weightOf(id),
    prepare: await prepareFor(parsed.value, { parser: openaiParser, input, tenant, models: ["m"] }),
    routes: ports.map((_, i) => ({
      pool: { ...index.pool(`p${i}`)!, requestHeaders: wanted },
      model: "m",
      rewrite: null,
      variant: null,
      isFallback: false,
    })),
    headers: request.headers,
    routing: index.routing,
    port: (pool) => ports[Number(pool.slice(1))]!,
    signal: request.signal,
    bindings: {},
    hold: (work) => void held.push(work),
  });
  if (dispatched.ok) await dispatched.response.body?.cancel();
  await Promise.all(held);
  return { dispatched, facts: telemetry.facts };
}

/** What the one pool's object was asked for a request with these headers. */
async function asked(headers: Record<string, string>, way: Way = {}) {
  const object = granting();
  await sent(headers, { ...way, ports: [object.port] });
  return object.asked[0]!;
}

describe("a pick", () => {
  it("is asked for with the headers the pool wants, objectives and media", async () => {
    const headers = { "x-session-id": "s1", "x-llm-d-slo-ttft-ms": "250", "x-other": "o" };
    const { request } = await asked(headers, { wanted: ["x-session-id"] });
    expect(request).toMatchObject({ headers: { "x-session-id": "s1" }, ttftSloMs: 250 });
    expect(request.media?.tokens).toEqual(new Uint32Array([225]));
    expect(request).not.toHaveProperty("tpotSloMs");
  });

  it("is asked for without what the request does not have", async () => {
    const { request, flow } = await asked({});
    expect(request).not.toHaveProperty("headers");
    expect(request).not.toHaveProperty("subset");
    expect(request).not.toHaveProperty("ttftSloMs");
    expect(flow).not.toHaveProperty("ttlMs");
  });

  it("never takes a subset from a client", async () => {
    const name = "x-gateway-destination-endpoint-subset";
    const { request } = await asked({ [name]: "10.9.9.9" }, { wanted: [name] });
    expect(request).not.toHaveProperty("subset");
    expect(request).not.toHaveProperty("headers");
  });

  it("brings the headers that plugins set", async () => {
    const { dispatched } = await sent({});
    expect(dispatched.ok && dispatched.grant.responseHeaders).toEqual([
      { name: "x-session-token", values: ["first", "second"] },
    ]);
  });
});

describe("a request's flow", () => {
  it("is its tenant, at its ceiling, since its body was complete", async () => {
    const { request, flow } = await asked({ "x-llm-d-inference-fairness-id": "other" });
    expect(request).toMatchObject({ tenant: "t", priority: 10 });
    const flowOfTenant = { fairnessId: "t", weight: 3, receivedAtMs: RECEIVED_AT_MS };
    expect(flow).toEqual({ ...flowOfTenant, waitsForEndpoints: true });
  });

  it("is what a trusted hop says, and the tenant stays who pays", async () => {
    const headers = { "x-gateway-inference-fairness-id": "user-7" };
    const { request, flow } = await asked(headers, { tenant: { trustedHop: true } });
    expect([request.tenant, flow?.fairnessId, flow?.weight]).toEqual(["t", "user-7", 3]);
  });

  it("has the weight of the tenant that a trusted hop names, whatever the hop's own", async () => {
    const headers = { "x-gateway-inference-fairness-id": "light" };
    const { flow } = await asked(headers, { tenant: { trustedHop: true } });
    expect([flow?.fairnessId, flow?.weight]).toEqual(["light", 0.5]);
  });

  it.for([
    { named: "urgent", priority: 10, ttftSloMs: 400 },
    { named: "batch", priority: -5, ttftSloMs: undefined },
    { named: "none-such", priority: 10, ttftSloMs: undefined },
  ])("has the objective it names, below its ceiling: $named", async (want) => {
    for (const name of ["x-llm-d-inference-objective", "x-gateway-inference-objective"]) {
      const { request } = await asked({ [name]: want.named });
      expect([request.priority, request.ttftSloMs]).toEqual([want.priority, want.ttftSloMs]);
    }
  });

  it("has its tenant's objective if it names none, and its own time to the first token", async () => {
    const tenant = { objective: "urgent" };
    const named = await asked({ "x-llm-d-slo-ttft-ms": "900" }, { tenant });
    expect(named.request).toMatchObject({ priority: 10, ttftSloMs: 900 });
    expect((await asked({}, { tenant })).request.ttftSloMs).toBe(400);
  });

  it("has the time to live of its header", async () => {
    const { flow } = await asked({ "x-llm-d-inference-ttl": "1500ms" });
    expect(flow?.ttlMs).toBe(1_500);
  });

  it("is logged with the priority it got", async () => {
    const { facts } = await sent({ "x-llm-d-inference-objective": "batch" });
    expect(facts.priority).toBe(-5);
  });
});

describe("a pool without endpoints", () => {
  it("is waited for only where no other pool is left", async () => {
    const [first, second] = [
      new ScriptedObject(refuses("rejected-no-endpoints")),
      new ScriptedObject(refuses("rejected-no-endpoints")),
    ];
    const last = granting();
    const ports = [first.port(), second.port(), last.port];
    const { dispatched, facts } = await sent({}, { ports });
    expect(dispatched.ok).toBe(true);
    const asks = [first.calls[0], second.calls[0], last.asked[0]];
    expect(asks.map((ask) => ask?.flow?.waitsForEndpoints)).toEqual([undefined, undefined, true]);
    expect(facts).not.toHaveProperty("queueMs");
  });

  it("has its webhook called once, and the request does not wait for that", async () => {
    const object = new ScriptedObject();
    object.goOn(place(50, { asksForCapacity: true }), place(50), object.grants);
    const webhookUrl = `${inject("relayUrl")}/capacity/${crypto.randomUUID()}`;
    const { dispatched, facts } = await sent({}, { ports: [object.port()], webhookUrl });
    expect(dispatched.ok).toBe(true);
    expect(facts.queueMs).toBeGreaterThanOrEqual(100);
    const calls = await (await fetch(webhookUrl)).json<CapacityCall[]>();
    expect(calls.map(({ body }) => body)).toEqual([
      { pool: "p0", model: "m", reason: "no-endpoints", at: expect.stringMatching(/^20.*Z$/) },
    ]);
  });
});

describe("a refusal of the queue", () => {
  it("is the client's answer, with the object's time to come again, and final", async () => {
    const full = new ScriptedObject(place(50), refuses("rejected-ttl-expired"));
    const next = granting();
    const { dispatched } = await sent({}, { ports: [full.port(), next.port] });
    expect(dispatched).toMatchObject({
      ok: false,
      error: { code: "queue_timeout", retryAfterS: 7, dropReason: "rejected-ttl-expired" },
    });
    expect(next.asked).toEqual([]);
  });
});

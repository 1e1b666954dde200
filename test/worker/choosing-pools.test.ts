// Several pools of one model on the whole way: real objects, a real directory between them and the
// Worker, agents on real WebSockets, and a relay on a real socket.

import { env } from "cloudflare:workers";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import {
  FAIRLEAD_POOL_HEADER,
  FAIRLEAD_REQUEST_ID_HEADER,
  FAIRLEAD_VARIANT_HEADER,
} from "../../src/agents/protocol/headers.ts";
import { endpoint, TestAgent, until } from "../durable/pool-client.ts";
import {
  adminSend,
  AGENT_TOKEN,
  applyConfiguration,
  chat,
  chatBody,
  MODEL,
  TENANT_KEY,
} from "./support/deployment.ts";
import { RELAY_KEY } from "./support/relay-key.ts";

const ALONE = "acme/one-pool";
const EU_KEY = "eu-key-0123456789";
const LENIENT_KEY = "lenient-key-0123456789";

/** How far each is, by policy: what is measured here is next to nothing. */
const EXTRA_MS = { near: 0, far: 400, farther: 800 } as const;
type Name = keyof typeof EXTRA_MS;
const NAMES = Object.keys(EXTRA_MS) as Name[];

/** `more`: further members by pool. */
function configuration(more: Partial<Record<Name, object>> = {}) {
  return {
    version: 1,
    // What comes back has its whole share at once.
    routing: { slowStartMs: 0 },
    pools: NAMES.map((name) => ({
      name,
      region: name,
      models: name === "near" ? [MODEL, ALONE] : [MODEL],
      agentToken: AGENT_TOKEN,
      relays: [{ url: inject("relayUrl"), keys: [RELAY_KEY] }],
      extraMs: EXTRA_MS[name],
      rttMs: 0,
      ...more[name],
    })),
    tenants: [
      { id: "acme", keys: [TENANT_KEY] },
      { id: "eu-only", keys: [EU_KEY], jurisdictions: ["eu"] },
      { id: "lenient", keys: [LENIENT_KEY], variantFallback: true },
    ],
  };
}

/** One endpoint a pool: 10.0.0.1 is near's, 10.0.0.2 far's, … */
const collectors = {} as Record<Name, TestAgent>;

const IDLE = [0, 0, 0, 16, 4_000];
/** Many wait, and the memory is full. */
const BUSY = [200, 64, 0.99, 16, 4_000];

/** As collectors scrape, five times a second. */
const loads: Record<Name, readonly number[]> = { near: IDLE, far: IDLE, farther: IDLE };
let scraping: ReturnType<typeof setInterval>;

function scrape(): void {
  for (const name of NAMES) collectors[name].metrics([{ endpoint: 0, fields: [...loads[name]] }]);
}

beforeAll(async () => {
  await applyConfiguration(configuration());
  for (const [i, pool] of NAMES.entries()) {
    collectors[pool] = await TestAgent.greeted({ pool, agent: `collector-${pool}` });
    collectors[pool].membership([endpoint(i + 1)]);
  }
  scraping = setInterval(scrape, 200);
  await untilStates({ near: "fresh", far: "fresh", farther: "fresh" });
});
afterAll(() => {
  clearInterval(scraping);
  for (const name of NAMES) collectors[name].close();
});

const as = (key: string) => ({ authorization: `Bearer ${key}` });

async function send(key = TENANT_KEY, fields: Readonly<Record<string, unknown>> = {}) {
  const response = await chat(chatBody(fields), as(key));
  await response.body?.cancel();
  return {
    status: response.status,
    pool: response.headers.get(FAIRLEAD_POOL_HEADER),
    variant: response.headers.get(FAIRLEAD_VARIANT_HEADER),
    requestId: response.headers.get(FAIRLEAD_REQUEST_ID_HEADER)!,
  };
}

/** Requests keep the isolate's knowledge young, as they do anywhere. */
async function untilServedBy(pool: string, key = TENANT_KEY): Promise<void> {
  await until(async () => (await send(key)).pool === pool);
}

async function metricLines(name: string): Promise<string[]> {
  const text = await (await adminSend("/metrics")).text();
  return text.split("\n").filter((line) => line.startsWith(`${name}{`));
}

/** What the isolate believes. */
async function untilStates(states: Partial<Record<Name, string>>): Promise<void> {
  await until(async () => {
    await send();
    const lines = await metricLines("fairlead_pool_state");
    return Object.entries(states).every(([pool, state]) =>
      lines.includes(`fairlead_pool_state{pool="${pool}",state="${state}"} 1`),
    );
  });
}

describe("among pools of one model", () => {
  it("the nearest is chosen while all are idle", async () => {
    for (let i = 0; i < 5; i++) expect(await send()).toMatchObject({ status: 200, pool: "near" });
  });

  it("one with a long queue is avoided, and used again when that is gone", async () => {
    loads.near = BUSY;
    expect(await until(async () => (await send()).pool !== "near")).toBe(true);
    for (let i = 0; i < 5; i++) expect(await send()).toMatchObject({ status: 200, pool: "far" });
    loads.near = IDLE;
    await untilServedBy("near");
  });

  it("one that is drained is not used, and used again when it is not", async () => {
    const put = await adminSend("/admin/v1/pools/near/drain", { method: "POST" });
    expect(put.status).toBe(200);
    await untilServedBy("far");
    for (let i = 0; i < 5; i++) expect((await send()).pool).not.toBe("near");
    // Also where nobody else serves the model.
    expect((await send(TENANT_KEY, { model: ALONE })).status).toBe(503);
    await adminSend("/admin/v1/pools/near/undrain", { method: "POST" });
    await untilServedBy("near");
  });

  it("none is tried where filters leave all out, and the client is told", async () => {
    const type = "label-selector-filter";
    const scheduler = {
      plugins: [{ type, parameters: { matchLabels: { zone: "none" } } }],
      schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: type }] }],
    };
    await applyConfiguration({ ...configuration(), routing: { slowStartMs: 0, scheduler } });
    await until(async () => {
      const { status } = await send();
      expect([200, 503]).toContain(status);
      return status === 503;
    });
    await applyConfiguration(configuration());
    await untilServedBy("near");
  });

  it("one that is lost is left for the next, in the same request and in those after", async () => {
    const relays = [{ url: inject("deadUrl"), keys: [RELAY_KEY] }];
    await applyConfiguration(configuration({ near: { relays } }));
    await until(async () => {
      const sent = await send();
      expect(sent.status).toBe(200);
      return sent.pool === "far";
    });
    for (let i = 0; i < 5; i++) expect(await send()).toMatchObject({ status: 200, pool: "far" });
    await applyConfiguration(configuration());
    await untilServedBy("near");
  });

  it("the choice is explained, and counted", async () => {
    const { requestId, pool } = await send();
    const answer = await adminSend(`/admin/v1/explain/${requestId}`);
    const { pools } = await answer.json<{ pools: { pool: string; terms: object }[] }>();
    expect(pools[0]).toMatchObject({ pool, tier: 0, state: "fresh" });
    expect(pools.map((each) => each.pool).toSorted()).toEqual(NAMES.toSorted());
    expect(Object.keys(pools[0]!.terms)).toEqual(expect.arrayContaining(["rttMs", "waitMs"]));
    const counted = await metricLines("fairlead_pool_choices_total");
    expect(counted.join("\n")).toMatch(/pool="near",reason="(cost|tier|draw)"} [1-9]/);
  });

  it("the way to each is measured", async () => {
    const lines = await until(async () => {
      const measured = await metricLines("fairlead_pool_rtt_seconds");
      return measured.length === 3 ? measured : undefined;
    });
    for (const line of lines) expect(Number(line.split(" ")[1])).toBeLessThan(2);
  });
});

describe("a tenant", () => {
  it("of one jurisdiction never reaches a pool of another, or of none", async () => {
    await applyConfiguration(configuration({ far: { jurisdiction: "eu" } }));
    await until(async () => (await send(EU_KEY)).status !== 404);
    for (let i = 0; i < 5; i++) expect(await send(EU_KEY)).toMatchObject({ pool: "far" });
    await untilServedBy("near");
    await applyConfiguration(configuration());
    await until(async () => (await send(EU_KEY)).status === 404);
  });

  it("gets another variant only if it may, and is told", async () => {
    const relays = [{ url: inject("deadUrl"), keys: [RELAY_KEY] }];
    const fp8 = { [MODEL]: "fp8" };
    const lost = { near: { relays, variants: fp8 }, farther: { relays, variants: fp8 } };
    const variants = { [MODEL]: "int 4" };
    await applyConfiguration(configuration({ ...lost, far: { variants } }));
    await until(async () => (await send()).status === 502);
    expect(await send()).toMatchObject({ status: 502 });
    expect(await send(LENIENT_KEY)).toMatchObject({ status: 200, pool: "far", variant: "int%204" });
    await applyConfiguration(configuration());
    await until(async () => (await send()).status === 200);
    expect((await send(LENIENT_KEY)).variant).toBeNull();
  });
});

describe("a model of one pool", () => {
  it("is served without any choice", async () => {
    const before = await metricLines("fairlead_pool_choices_total");
    const { requestId, pool, status } = await send(TENANT_KEY, { model: ALONE });
    expect({ pool, status }).toEqual({ pool: "near", status: 200 });
    expect(await metricLines("fairlead_pool_choices_total")).toEqual(before);
    const { explanation } = await env.POOLS.explain("near" as never, requestId);
    expect(explanation).not.toHaveProperty("pools");
  });
});

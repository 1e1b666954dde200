// A pool of several real objects, as clients and operators see it: as one.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Explanation } from "../../../src/scheduler/decisions/document.ts";
import type { PoolState } from "../../../src/durable/state.ts";
import { forgetDirectory } from "../../../src/worker/directory.ts";
import { PoolStorage } from "../../../src/durable/pool-storage.ts";
import { poolShards } from "../../../src/worker/shards/pool-shards.ts";
import { gaugeRuleOf } from "../../../src/telemetry/shard-gauges.ts";
import { parseRequestId } from "../../../src/worker/request-id.ts";
import type { AnsweredShards } from "../../../src/worker/shards/answers.ts";
import type { MergedPage } from "../../../src/worker/shards/merge-decisions.ts";
import { endpoint, POOL, TestAgent, until } from "../../durable/pool-client.ts";
import {
  adminSend,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
} from "../support/deployment.ts";

const SHARDS = 3;
const ENDPOINTS = [endpoint(1), endpoint(2)];
/** Of each test another one: this isolate remembers what it has heard of pools. */
let pool = "";
let testCount = 0;

const addressOf = (shard: number) => (shard === 0 ? pool : `${pool}~${shard}`);
const object = (shard: number) => env.POOL.getByName(addressOf(shard));

async function apply(shards: number, fields: object = {}): Promise<void> {
  const config = configuration();
  // Endpoints are sampled once, and are fresh until three scrapes are missing.
  const more = { name: pool, shards, scrapeIntervalMs: 60_000, ...fields };
  const pools = config.pools.map((each) => (each.name === POOL ? { ...each, ...more } : each));
  await applyConfiguration({ ...config, pools });
}

/** A collector's session with each object. */
async function collect(shard: number): Promise<void> {
  const agent = await TestAgent.connect({ pool, shard }, addressOf(shard));
  agent.hello();
  await agent.received("configure");
  agent.membership(ENDPOINTS);
  agent.metrics(ENDPOINTS.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
  await until(async () => {
    const state = await object(shard).state();
    return state.endpoints.length === 2 && state.endpoints.every(({ isFresh }) => isFresh);
  });
}

beforeEach(async () => {
  pool = `sharded-${testCount++}`;
  await apply(SHARDS);
  for (let shard = 0; shard < SHARDS; shard++) await collect(shard);
});
afterEach(async () => {
  forgetDirectory();
  await reset();
});

/** Asks with prompts of this number that have nothing in common; gives the shards that have served them. */
async function ask(count: number, fields: object = {}): Promise<{ id: string; shard: number }[]> {
  const asked: { id: string; shard: number }[] = [];
  for (let i = 0; i < count; i++) {
    const content = `${i} `.repeat(400);
    const response = await chat(chatBody({ messages: [{ role: "user", content }], ...fields }));
    await response.body?.cancel();
    expect(response.status).toBe(200);
    const id = response.headers.get("x-fairlead-request-id")!;
    asked.push({ id, shard: parseRequestId(id)!.shard });
  }
  return asked;
}

/** Calls of these methods of the object fail: what is the instance's own is not there for RPC. */
async function lose(shard: number, ...methods: string[]): Promise<void> {
  const hidden = Object.fromEntries(methods.map((method) => [method, undefined]));
  await runInDurableObject(object(shard), (instance) => void Object.assign(instance, hidden));
}

async function get<Body>(path: string): Promise<Body> {
  const response = await adminSend(path);
  expect(response.status).toBe(200);
  return response.json();
}

type Shown = PoolState & { readonly shards?: AnsweredShards };
const stateOfIt = () => get<Shown>(`/admin/v1/pools/${pool}`);

describe("requests to a pool of several objects", () => {
  it("go to the object that their prompt belongs to, each time", async () => {
    const first = await ask(12);
    expect(new Set(first.map(({ shard }) => shard))).toEqual(new Set([0, 1, 2]));
    const again = await ask(12);
    expect(again.map(({ shard }) => shard)).toEqual(first.map(({ shard }) => shard));
  });

  it("are served by the other objects while theirs is away", async () => {
    const first = await ask(12);
    await lose(1, "pick", "sync");
    const meanwhile = await ask(12);
    meanwhile.forEach(({ shard }, i) => {
      expect(shard).toBe(first[i]!.shard === 1 ? 2 : first[i]!.shard);
    });
  });

  it("are sent on by an object that does not count any more, at once", async () => {
    const { config } = await runInDurableObject(object(2), (_, { storage }) =>
      new PoolStorage(storage).config(),
    );
    // This isolate has not heard of it yet.
    await object(2).configure({ ...config!, shard: { index: 2, count: 2 } }, 2);
    const asked = await ask(12);
    expect(new Set(asked.map(({ shard }) => shard))).toEqual(new Set([0, 1]));
    // It was asked once, and no other instead of it.
    expect(poolShards.of({ name: pool, shards: SHARDS }, Date.now()).count).toBe(2);
  });

  it("heed a change of the count with the configuration", async () => {
    await ask(3);
    await apply(1);
    expect(new Set((await ask(12)).map(({ shard }) => shard))).toEqual(new Set([0]));
    await apply(SHARDS);
    expect(new Set((await ask(12)).map(({ shard }) => shard))).toEqual(new Set([0, 1, 2]));
  });

  it("are served by what this isolate knows where no object answers", async () => {
    const first = await ask(12);
    for (let shard = 0; shard < SHARDS; shard++) await lose(shard, "pick", "sync");
    const meanwhile = await ask(12);
    expect(meanwhile.map(({ shard }) => shard)).toEqual(first.map(({ shard }) => shard));
  });
});

describe("an operator's view of it", () => {
  it("explains a request, whichever object has it on record", async () => {
    const asked = await ask(12);
    for (const { id } of asked) {
      const explained = await get<Explanation>(`/admin/v1/explain/${id}`);
      expect(explained).toMatchObject({ requestId: id, pool });
    }
    // An id whose digits name another shard: all are asked.
    const { id, shard } = asked.find((each) => each.shard !== 0)!;
    const other = id.replace(/^(fl-[0-9a-f]{8})-../, "$1-00");
    expect((await adminSend(`/admin/v1/explain/${other}`)).status).toBe(404);
    await lose(shard, "explain");
    expect((await adminSend(`/admin/v1/explain/${id}`)).status).toBe(503);
    expect((await adminSend(`/admin/v1/explain/${id.replace(/-..-/, "-10-")}`)).status).toBe(400);
  });

  it("pages through the decisions of all objects, newest first, each once", async () => {
    const ids = (await ask(10)).map(({ id }) => id);
    const seen: string[] = [];
    const times: number[] = [];
    for (let next: string | null = "-.-.-"; next !== null;) {
      const path = `/admin/v1/pools/${pool}/decisions?limit=3&before=${next}`;
      const page: MergedPage & { shards?: AnsweredShards } = await get(path);
      expect(page.shards).toEqual({ count: SHARDS, missing: [] });
      expect(page.decisions.length).toBeLessThanOrEqual(3);
      seen.push(...page.decisions.map(({ requestId }) => requestId));
      times.push(...page.decisions.map(({ attempt }) => attempt.atMs));
      ({ next } = page);
    }
    expect(seen.toSorted()).toEqual(ids.toSorted());
    expect(times).toEqual(times.toSorted((a, b) => b - a));
    const refused = await adminSend(`/admin/v1/pools/${pool}/decisions?before=7`);
    expect(refused.status).toBe(400);
  });

  it("is one state, of engines once and of requests in all", async () => {
    const shown = await stateOfIt();
    expect(shown).toMatchObject({ pool, isConfigured: true, shards: { count: SHARDS } });
    expect(shown.endpoints.map(({ id }) => id)).toEqual(ENDPOINTS.map(({ id }) => id));
    expect(shown.agents).toHaveLength(1);
  });

  it("is of the objects that answer, and says which do not", async () => {
    await lose(1, "state", "metrics", "queueState", "decisions");
    expect(await stateOfIt()).toMatchObject({ shards: { count: SHARDS, missing: [1] } });
    const page = await get<{ shards: AnsweredShards }>(`/admin/v1/pools/${pool}/decisions`);
    expect(page.shards.missing).toEqual([1]);
    const queue = await get<{ shards: AnsweredShards }>(`/admin/v1/pools/${pool}/queue`);
    expect(queue.shards.missing).toEqual([1]);
    const text = await (await adminSend(`/metrics/pools/${pool}`)).text();
    expect(text).toContain(`fairlead_pool_shards{name="${pool}",outcome="missing"} 1`);
    for (const shard of [0, 2]) await lose(shard, "state");
    expect((await adminSend(`/admin/v1/pools/${pool}`)).status).toBe(503);
  });

  it("is one queue where requests may wait", async () => {
    await apply(SHARDS, { scheduler: { featureGates: ["flowControl"] } });
    const { queue, shards } = await get<{ queue: object; shards: AnsweredShards }>(
      `/admin/v1/pools/${pool}/queue`,
    );
    expect(queue).toMatchObject({ hasEndpoints: true, waiting: { requests: 0 } });
    expect(shards).toEqual({ count: SHARDS, missing: [] });
  });

  it("has a rule for each gauge that an object shows", async () => {
    await apply(SHARDS, { scheduler: { featureGates: ["flowControl"] } });
    await ask(3);
    const text = await object(1).metrics();
    const gauges = [...text.matchAll(/^# TYPE (\S+) gauge$/gm)].map(([, name]) => name!);
    expect(gauges.length).toBeGreaterThan(15);
    expect(gauges.filter((name) => gaugeRuleOf(name) === undefined)).toEqual([]);
  });

  it("is one text of metrics, without a series twice, and with all requests", async () => {
    await ask(9);
    const text = await (await adminSend(`/metrics/pools/${pool}`)).text();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    const series = lines.map((line) => line.slice(0, line.lastIndexOf(" ")));
    expect(new Set(series).size).toBe(series.length);
    const valueOf = (name: string) => {
      const values = lines.filter((line) => line.startsWith(name)).map((line) => line.split(" "));
      return values.reduce((sum, parts) => sum + Number(parts.at(-1)), 0);
    };
    expect(valueOf("llm_d_epp_scheduler_e2e_duration_seconds_count")).toBe(9);
    expect(valueOf("llm_d_epp_ready_endpoints{")).toBe(2);
    expect(valueOf('fairlead_agents_connected{role="collector"}')).toBe(1);
    expect(valueOf(`fairlead_pool_shards{name="${pool}",outcome="answered"}`)).toBe(SHARDS);
  });
});

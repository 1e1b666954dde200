// A pool's scheduling configuration on its way: directory, object, storage, and back after a restart.

import {
  evictDurableObject,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Deployment,
  DEPLOYMENT_LIMITS,
  parseDeployment,
} from "../../src/config/deployment.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { createDeployment } from "./deployments.ts";
import {
  closed,
  configurePool,
  opened,
  POOL,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  TestWorker,
} from "./pool-client.ts";

afterEach(() => reset());

const directory = () => env.DIRECTORY.getByName("directory");

/** As written before plugins had a list of their own. */
const FORMER = {
  schedulingProfiles: [
    {
      name: "default",
      filters: [],
      scorers: [{ type: "queue-scorer", weight: 1 }],
      picker: { type: "x" },
    },
  ],
};
const QUEUE_ONLY = {
  plugins: [{ type: "queue-scorer" }, { type: "max-score-picker" }],
  schedulingProfiles: [{ name: "only", plugins: [{ pluginRef: "queue-scorer", weight: 5 }] }],
};

async function stored(): Promise<Deployment> {
  const read = await directory().read(-1);
  if (!("deployment" in read)) throw new Error("unchanged");
  return read.deployment;
}

/** The deployment, with `scheduler` for its pools. */
function scheduled(deployment: Deployment, scheduler: object): Deployment {
  const pools = deployment.pools.map((pool) => ({ ...pool, scheduler }));
  const parsed = parseDeployment({ ...deployment, pools });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value;
}

async function explained(requestId: string) {
  using worker = new TestWorker();
  expect(await worker.pick(pickRequest(requestId))).toMatchObject({ ok: true });
  const { explanation } = await poolStub().explain(requestId);
  const attempt = explanation!.attempts[0]!;
  if (!("scheduler" in attempt)) throw new Error("it was not decided on");
  return attempt;
}

async function fallbacks(): Promise<number> {
  const line = (await env.POOLS.metrics(POOL))
    .split("\n")
    .find((each) => each.startsWith("fairlead_config_fallbacks_total"));
  return Number(line?.split(" ")[1] ?? 0);
}

describe("the directory", () => {
  it("stores what was written and tells pools what it comes to", async () => {
    await directory().put(scheduled(createDeployment(), QUEUE_ONLY));
    expect((await stored()).pools[0]!.scheduler).toEqual(QUEUE_ONLY);
    const told = await runInDurableObject(poolStub(), (_, { storage }) =>
      storage.sql.exec<{ json: string }>("SELECT json FROM config").one(),
    );
    const { scheduler } = JSON.parse(told.json) as { scheduler: unknown };
    expect(scheduler).toEqual(schedulerConfigSchema.parse(QUEUE_ONLY));
  });

  it("keeps the most pools there may be, each with the default", async () => {
    const pools = Array.from({ length: DEPLOYMENT_LIMITS.poolsMax }, (_, i) => `pool-${i}`);
    const parsed = createDeployment({ pools });
    const bytes = JSON.stringify(parsed).length;
    expect(bytes).toBeLessThan(DEPLOYMENT_LIMITS.configBytesMax / 8);
  });

  it("puts the default in place of what it cannot read any more, and tells the pool", async () => {
    await directory().put(scheduled(createDeployment({ pools: [POOL, "other"] }), QUEUE_ONLY));
    expect(await directory().read(-1)).not.toHaveProperty("repaired");
    await runInDurableObject(directory(), (_, { storage }) => {
      const { json } = storage.sql.exec<{ json: string }>("SELECT json FROM versions").one();
      const deployment = JSON.parse(json) as Deployment;
      const [first, ...others] = deployment.pools;
      const pools = [{ ...first, scheduler: FORMER }, ...others];
      storage.sql.exec("UPDATE versions SET json = ?", JSON.stringify({ ...deployment, pools }));
    });
    await runInDurableObject(poolStub(), (_, { storage }) => {
      const config = JSON.stringify({ name: POOL, scrapeIntervalMs: 200, scheduler: FORMER });
      storage.sql.exec("UPDATE config SET json = ?", config);
    });
    await evictDurableObject(directory());
    await evictDurableObject(poolStub());
    expect((await stored()).pools).toMatchObject([
      { name: POOL, scheduler: {} },
      { name: "other", scheduler: QUEUE_ONLY },
    ]);
    expect(await directory().read(-1)).toMatchObject({ version: 1, repaired: [POOL] });
    expect((await poolStub().state()).configVersion).toBe(0);
    expect(await runDurableObjectAlarm(directory())).toBe(true);
    expect((await poolStub().state()).configVersion).toBe(1);
    expect(await runDurableObjectAlarm(directory())).toBe(false);
    await directory().put(createDeployment());
    expect(await directory().read(-1)).not.toHaveProperty("repaired");
  });
});

describe("a pool's object", () => {
  it("serves with the default where its stored configuration cannot be read", async () => {
    await poolWithEndpoints(2);
    await runInDurableObject(poolStub(), (_, { storage }) => {
      const config = JSON.stringify({ name: POOL, scrapeIntervalMs: 200, scheduler: FORMER });
      storage.sql.exec("UPDATE config SET json = ?, version = 7", config);
    });
    await evictDurableObject(poolStub());
    expect(await poolStub().state()).toMatchObject({ isConfigured: true, configVersion: 0 });
    expect(await fallbacks()).toBe(1);
    expect((await explained("after")).scheduler).toEqual(schedulerConfigSchema.parse({}));
    // The word it has heard before is heard again.
    await configurePool(7);
    expect((await poolStub().state()).configVersion).toBe(7);
  });

  it("refuses a configuration that it cannot read, and the old one stays", async () => {
    await poolWithEndpoints(2);
    const bad = { ...schedulerConfigSchema.parse(QUEUE_ONLY), plugins: [] };
    const config = { name: POOL, scrapeIntervalMs: 200, scheduler: bad };
    await runInDurableObject(poolStub(), (instance) => {
      expect(() => instance.configure(config, 9)).toThrow("references undefined plugin");
    });
    expect((await poolStub().state()).configVersion).toBe(1);
    expect((await explained("still")).scheduler).toEqual(schedulerConfigSchema.parse({}));
    const { version } = await runInDurableObject(poolStub(), (_, { storage }) =>
      storage.sql.exec<{ version: number }>("SELECT version FROM config").one(),
    );
    expect(version).toBe(1);
  });

  it("changes it while it serves: no request is refused, tickets and caches stay", async () => {
    await poolWithEndpoints(2);
    using open = new TestWorker();
    expect(await open.pick(pickRequest("open"))).toMatchObject({ ok: true });
    const { tickets } = await poolStub().state();
    const configs = [QUEUE_ONLY, {}].map((document) => schedulerConfigSchema.parse(document));
    for (let version = 2; version < 12; version++) {
      const scheduler = configs[version % 2]!;
      const told = poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler }, version);
      const [attempt] = await Promise.all([explained(`request-${version}`), told]);
      expect(configs).toContainEqual(attempt.scheduler);
    }
    expect((await poolStub().state()).tickets.open).toBeGreaterThanOrEqual(tickets.open);
    expect((await explained("open-again")).scheduler).toEqual(configs[1]);
  });

  it("remembers as much of an endpoint's cache as its configuration says", async () => {
    await poolWithEndpoints(1);
    const scheduler = schedulerConfigSchema.parse({
      ...QUEUE_ONLY,
      plugins: [
        ...QUEUE_ONLY.plugins,
        {
          type: "approx-prefix-cache-producer",
          parameters: { autoTune: false, lruCapacityPerServer: 7 },
        },
      ],
    });
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    using worker = new TestWorker();
    const grant = await worker.pick(pickRequest("a"));
    if (!grant.ok) throw new Error(grant.detail);
    relay.reports([opened(grant), closed(grant)]);
    await relay.received("ack");
    expect((await explained("b")).candidates[0]!.matchedBlocks).toBe(20);
    await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler }, 2);
    expect((await explained("c")).candidates[0]!.matchedBlocks).toBe(7);
  });
});

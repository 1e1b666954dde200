import {
  evictDurableObject,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { type Deployment, DEPLOYMENT_LIMITS, KEPT_SECRET } from "../../src/config/deployment.ts";
import { effectiveScheduler } from "../../src/config/scheduling.ts";
import { VERSIONS_KEPT_MAX } from "../../src/durable/directory-storage.ts";
import { PoolStorage } from "../../src/durable/pool-storage.ts";
import { sha256Hex } from "../../src/durable/system.ts";
import { AGENT_TOKEN, createDeployment, RELAY_SECRET, TENANT_KEY } from "./deployments.ts";

afterEach(() => reset());

const directory = () => env.DIRECTORY.getByName("directory");
const pool = (name: string) => env.POOL.getByName(name);

async function stored(): Promise<Deployment> {
  const read = await directory().read(-1);
  if (!("deployment" in read)) throw new Error("unchanged");
  return read.deployment;
}

describe("reading", () => {
  it("gives the empty configuration as version 0 before anything was put", async () => {
    expect(await directory().read(-1)).toMatchObject({
      version: 0,
      deployment: { pools: [], tenants: [] },
    });
  });

  it("answers unchanged to who knows the version in force", async () => {
    await directory().put(createDeployment());
    expect(await directory().read(1)).toEqual({ version: 1, unchanged: true });
    expect(await directory().read(0)).toMatchObject({ version: 1 });
  });

  it("survives an eviction", async () => {
    await directory().put(createDeployment());
    await evictDurableObject(directory());
    expect((await stored()).pools[0]!.relays[0]!.keys[0]!.secret).toBe(RELAY_SECRET);
  });
});

describe("putting", () => {
  it("stores keys as hashes only", async () => {
    await directory().put(createDeployment());
    const { tenants, pools } = await stored();
    expect(tenants[0]!.keys).toEqual([`sha256:${await sha256Hex(TENANT_KEY)}`]);
    expect(pools[0]!.agentToken).toBe(`sha256:${await sha256Hex(AGENT_TOKEN)}`);
    const rows = await runInDurableObject(directory(), (_, { storage }) =>
      storage.sql.exec<{ json: string }>("SELECT json FROM versions").toArray(),
    );
    expect(rows[0]!.json).not.toContain(TENANT_KEY);
    expect(rows[0]!.json).not.toContain(AGENT_TOKEN);
  });

  it("keeps a secret that is stored, and only that", async () => {
    await directory().put(createDeployment());
    const kept = createDeployment({ relaySecret: KEPT_SECRET });
    expect(await directory().put(kept)).toMatchObject({ ok: true, version: 2 });
    expect((await stored()).pools[0]!.relays[0]!.keys[0]!.secret).toBe(RELAY_SECRET);
    const unknown = createDeployment({ relaySecret: KEPT_SECRET, pools: ["eu-1", "eu-2"] });
    expect(await directory().put(unknown)).toMatchObject({
      ok: false,
      reason: "invalid",
      issues: [{ path: "pools[1].relays[0].keys[0].secret" }],
    });
    expect(await directory().read(2)).toEqual({ version: 2, unchanged: true });
  });

  it("refuses another version than the expected one", async () => {
    await directory().put(createDeployment(), 0);
    expect(await directory().put(createDeployment(), 0)).toMatchObject({
      ok: false,
      reason: "conflict",
      issues: [{ message: "the version in force is 1, not 0" }],
    });
    expect(await directory().put(createDeployment(), 1)).toMatchObject({ ok: true, version: 2 });
  });

  it("lets one of two concurrent puts win", async () => {
    const results = await Promise.all([
      directory().put(createDeployment(), 0),
      directory().put(createDeployment(), 0),
    ]);
    expect(results.filter((result) => result.ok)).toHaveLength(1);
  });

  it("finds a key that is given twice in two spellings", async () => {
    const spelled = [TENANT_KEY, `sha256:${await sha256Hex(TENANT_KEY)}`];
    expect(await directory().put(createDeployment({ tenantKeys: spelled }))).toMatchObject({
      ok: false,
      reason: "invalid",
      issues: [{ path: "tenants[0].keys[1]" }],
    });
  });

  it("refuses what is larger than a configuration may be", async () => {
    const base = createDeployment();
    const models = Array.from({ length: 256 }, (_, i) => `${i}-${"m".repeat(250)}`);
    const many = Array.from({ length: 18 }, (_, i) => ({
      ...base.pools[0]!,
      name: `p${i}`,
      models,
    }));
    expect(await directory().put({ ...base, pools: many })).toMatchObject({
      ok: false,
      reason: "too-large",
      issues: [{ message: expect.stringContaining(String(DEPLOYMENT_LIMITS.configBytesMax)) }],
    });
  });
});

describe("versions", () => {
  it("are shown without secrets", async () => {
    await directory().put(createDeployment());
    const shown = await directory().get(1);
    expect(shown?.pools[0]!.relays[0]!.keys[0]!.secret).toBe(KEPT_SECRET);
    expect(JSON.stringify(shown)).not.toContain(RELAY_SECRET);
    expect(await directory().get(2)).toBeNull();
  });

  it("are kept up to their maximum", async () => {
    for (let i = 0; i <= VERSIONS_KEPT_MAX; i++) await directory().put(createDeployment());
    const versions = await directory().versions();
    expect(versions).toHaveLength(VERSIONS_KEPT_MAX);
    expect(versions[0]).toMatchObject({ version: VERSIONS_KEPT_MAX + 1 });
    expect(versions[0]!.bytes).toBeGreaterThan(100);
    expect(await directory().get(1)).toBeNull();
  });
});

describe("pools' objects", () => {
  it("are configured by a put, and retired by a put without them", async () => {
    const put = await directory().put(createDeployment({ pools: ["eu-1", "eu-2"] }));
    expect(put).toEqual({ ok: true, version: 1, pending: [] });
    expect(await pool("eu-2").state()).toMatchObject({
      pool: "eu-2",
      isConfigured: true,
      configVersion: 1,
    });
    await directory().put(createDeployment({ pools: ["eu-1"] }));
    expect(await pool("eu-1").state()).toMatchObject({ isConfigured: true, configVersion: 2 });
    expect(await pool("eu-2").state()).toMatchObject({ isConfigured: false, configVersion: 2 });
  });

  it("are told the priorities of their objectives, and keep them", async () => {
    const deployment = createDeployment();
    const objectives = [-10, 5, -10].map((priority, i) => ({ name: `o${i}`, priority }));
    await directory().put({ ...deployment, pools: [{ ...deployment.pools[0]!, objectives }] });
    const kept = () =>
      runInDurableObject(pool("eu-1"), (_, { storage }) => new PoolStorage(storage).config());
    expect(await kept()).toMatchObject({ config: { objectivePriorities: [-10, 5] } });
    await directory().put(deployment);
    expect((await kept()).config).not.toHaveProperty("objectivePriorities");
  });

  it("that could not be told are told by alarm", async () => {
    // An object that refuses: its configure throws until it is evicted.
    await runInDurableObject(pool("eu-1"), (instance) => {
      instance.configure = () => {
        throw new Error("not now");
      };
    });
    expect(await directory().put(createDeployment())).toMatchObject({ pending: ["eu-1"] });
    await evictDurableObject(pool("eu-1"));
    expect((await pool("eu-1").state()).isConfigured).toBe(false);
    expect(await runDurableObjectAlarm(directory())).toBe(true);
    expect((await pool("eu-1").state()).isConfigured).toBe(true);
    expect(await runDurableObjectAlarm(directory())).toBe(false);
  });

  it("ignore an older version that comes late", async () => {
    await directory().put(createDeployment({ scrapeIntervalMs: 100 }));
    const { pools } = await stored();
    await directory().put(createDeployment({ scrapeIntervalMs: 300 }));
    const { name, scheduler } = pools[0]!;
    const older = { name, scheduler: effectiveScheduler(scheduler), scrapeIntervalMs: 100 };
    await pool("eu-1").configure(older, 1);
    await pool("eu-1").retire(1);
    expect(await pool("eu-1").state()).toMatchObject({ configVersion: 2, staleAfterMs: 1_900 });
  });
});

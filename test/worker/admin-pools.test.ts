// What an operator sees of pools, and draining.

import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PoolSummary } from "../../src/scheduler/pools/summary.ts";
import { forgetDirectory } from "../../src/worker/directory.ts";
import type { ListedPool } from "../../src/worker/pools/pool-list.ts";
import { POOL } from "../durable/pool-client.ts";
import { adminSend, configuration, deploy, heardOf } from "./support/deployment.ts";

beforeEach(async () => {
  await deploy();
  await heardOf("us-1");
});
afterEach(async () => {
  forgetDirectory();
  await reset();
});

async function list(): Promise<{ version: number; pools: ListedPool[] }> {
  const response = await adminSend("/admin/v1/pools");
  expect(response.status).toBe(200);
  return response.json();
}

const post = (path: string) => adminSend(`/admin/v1/pools/${path}`, { method: "POST" });

/** Of a pool that has no agents, so that its object says nothing itself. */
function summary(saturation: number): PoolSummary {
  return {
    pool: "us-1",
    incarnation: `of-${saturation}`,
    seq: 1,
    configVersion: 1,
    membership: { ageMs: 10, endpoints: 2, usable: 2, agents: 1, models: [], adapters: [] },
    load: {
      ageMs: 20,
      saturation,
      waitMs: 5,
      queued: 0,
      inFlightRequests: 3,
      inFlightTokens: 100,
      pendingPrefillTokens: 0,
      queueDepth: 0,
      kvUsage: 0.5,
      kvCapacityTokens: 1_000,
    },
  };
}

describe("the list of pools", () => {
  it("has every pool in the order of the configuration, heard of or not", async () => {
    await env.CONTROL.reportPool(summary(0.2));
    const { version, pools } = await list();
    expect(version).toBe(1);
    expect(pools.map(({ pool }) => pool)).toEqual([POOL, "us-1", "eu-empty"]);
    expect(pools[1]).toMatchObject({
      region: "us",
      models: ["acme/us-only"],
      failoverTier: 0,
      drained: false,
      state: "fresh",
      summary: { load: { inFlightRequests: 3 } },
    });
    expect(pools[1]!.ageMs).toBeLessThan(5_000);
    expect(pools[2]).toMatchObject({ state: "silent", drained: false });
    expect(pools[2]!.summary?.load).toBeUndefined();
  });

  it("says in one word what speaks the most against a pool", async () => {
    const stateOfIt = async () => (await list()).pools[1]!.state;
    await env.CONTROL.reportPool(summary(1));
    expect(await stateOfIt()).toBe("full");
    const { membership, ...rest } = summary(0.3);
    const empty = { ...rest, membership: { ...membership!, usable: 0 } };
    await env.CONTROL.reportPool(empty);
    expect(await stateOfIt()).toBe("empty");
    await post("us-1/drain");
    expect(await stateOfIt()).toBe("drained");
  });
});

describe("draining", () => {
  it("shows at once, is idempotent, and can be taken back", async () => {
    const drained = await post(`${POOL}/drain`);
    expect(await drained.json()).toMatchObject({ pool: POOL, drained: true, changed: true });
    expect(await (await post(`${POOL}/drain`)).json()).toMatchObject({ changed: false });
    expect((await list()).pools[0]).toMatchObject({ drained: true, state: "drained" });
    const pool = await adminSend(`/admin/v1/pools/${POOL}`);
    expect(await pool.json()).toMatchObject({ pool: POOL, drained: true });
    expect(await (await post(`${POOL}/undrain`)).json()).toEqual({
      pool: POOL,
      drained: false,
      changed: true,
      notes: [],
    });
    expect((await list()).pools[0]).toMatchObject({ drained: false });
  });

  it("warns where nobody else serves a model", async () => {
    const { notes } = await (await post("us-1/drain")).json<{ notes: string[] }>();
    expect(notes).toEqual([expect.stringContaining("acme/us-only")]);
  });

  it("names the pools that there are to who asks for another", async () => {
    const response = await post("nowhere/drain");
    expect(response.status).toBe(404);
    expect(await response.text()).toContain(`There are: ${POOL}, us-1, eu-empty.`);
  });

  it("is no method of GET", async () => {
    const response = await adminSend(`/admin/v1/pools/${POOL}/drain`);
    expect(response.status).toBe(405);
    expect((await list()).pools[0]).toMatchObject({ drained: false });
  });
});

describe("a configuration with a jurisdiction", () => {
  it("is put, with a note where jurisdictions are not kept", async () => {
    const config = configuration();
    const pools = config.pools.map((pool) => ({ ...pool, jurisdiction: "eu" }));
    const put = await adminSend("/admin/v1/config", {
      method: "PUT",
      body: JSON.stringify({ ...config, pools }),
    });
    expect(await put.json()).toMatchObject({
      version: 2,
      notes: [expect.stringContaining("Only Cloudflare keeps an object in a jurisdiction")],
    });
    expect((await list()).pools[0]).toMatchObject({ jurisdiction: "eu" });
    const pool = await adminSend(`/admin/v1/pools/${POOL}`);
    expect(await pool.json()).toMatchObject({ isConfigured: true, configVersion: 2 });
  });
});

it("shows the directory's metrics", async () => {
  await env.CONTROL.reportPool(summary(0.5));
  const text = await (await adminSend("/metrics/directory")).text();
  expect(text).toContain('fairlead_directory_reports_total{outcome="accepted"}');
  expect(text).toMatch(/fairlead_pool_summary_age_seconds\{pool="us-1"\} 0/);
});

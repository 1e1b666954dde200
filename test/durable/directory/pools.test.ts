// What a directory's object knows of pools: what they say, and what an operator says of them.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { PoolsKnown, PoolsRead } from "../../../src/durable/directory/contract.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";
import { createDeployment } from "../deployments.ts";
import { until } from "../pool-client.ts";

afterEach(() => reset());

const NOTHING: PoolsKnown = { epoch: "", revision: 0, digests: [] };

function summary(pool: string, seq = 1): PoolSummary {
  return { pool, incarnation: "of-the-test", seq, configVersion: 1 };
}

async function read(known: PoolsKnown = NOTHING): Promise<PoolsRead> {
  const { pools } = await env.CONTROL.readConfig(1, known);
  if (pools === undefined) throw new Error("nothing of pools");
  return pools;
}

const told = ({ summaries }: PoolsRead) =>
  summaries.map(({ json }) => JSON.parse(json) as PoolSummary);

async function resetDirectory(): Promise<void> {
  const directory = env.DIRECTORY.getByName("directory");
  await runInDurableObject(directory, (_, ctx) => ctx.abort("reset")).catch(() => {});
}

describe("what pools say", () => {
  it("comes with the configuration, to who asks for it", async () => {
    await env.CONTROL.putConfig(createDeployment());
    const answer = await env.CONTROL.reportPool({ ...summary("eu-1", 1_000_000) });
    expect(answer).toMatchObject({ isKnown: true, wantsDigest: false });
    expect(await env.CONTROL.readConfig(1)).toEqual({ version: 1, unchanged: true });
    expect(told(await read())).toMatchObject([{ pool: "eu-1" }]);
  });

  it("is not kept of a pool that is not configured", async () => {
    await env.CONTROL.putConfig(createDeployment());
    const answer = await env.CONTROL.reportPool(summary("stranger"));
    expect(answer).toEqual({ isKnown: false, wantsDigest: false, usesDigest: false });
    expect(told(await read()).filter(({ pool }) => pool === "stranger")).toEqual([]);
  });

  it("brings digests to those who want them", async () => {
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1", "eu-2"] }));
    const withDigest = { ...summary("eu-2"), digestVersion: "v1" };
    const unused = { wantsDigest: false, usesDigest: false };
    expect(await env.CONTROL.reportPool(withDigest)).toMatchObject(unused);
    const wanted = { ...NOTHING, digests: [{ pool: "eu-2", known: "" }] };
    await read(wanted);
    const used = { wantsDigest: true, usesDigest: true };
    expect(await env.CONTROL.reportPool({ ...withDigest, seq: 2 })).toMatchObject(used);
    const bytes = Uint8Array.of(1, 2, 3);
    const digest = { pool: "eu-2", version: "v1", ageMs: 5, bytes };
    await env.CONTROL.reportPool({ ...withDigest, seq: 3 }, digest);
    expect((await read()).digests).toEqual([]);
    const { digests } = await read(wanted);
    expect(digests).toMatchObject([{ pool: "eu-2", version: "v1", bytes }]);
  });

  it("is told anew by a directory that was reset", async () => {
    await env.CONTROL.putConfig(createDeployment());
    await env.CONTROL.reportPool(summary("eu-1", 7));
    const before = await read();
    await resetDirectory();
    const known = { epoch: before.epoch, revision: before.revision, digests: [] };
    await until(async () => (await read(known)).epoch !== before.epoch);
    const answer = await env.CONTROL.reportPool(summary("eu-1", 8));
    expect(answer).toMatchObject({ isKnown: true });
    const after = await read(known);
    expect(after.revision).toBeLessThanOrEqual(before.revision + 1);
    expect(told(after)).toMatchObject([{ pool: "eu-1" }]);
  });
});

describe("draining", () => {
  it("is told to all, is idempotent and survives a reset", async () => {
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1", "eu-2"] }));
    const drained = { ok: true, pool: "eu-2", drained: true, changed: true, notes: [] };
    expect(await env.CONTROL.drainPool("eu-2", true)).toEqual(drained);
    expect(await env.CONTROL.drainPool("eu-2", true)).toEqual({ ...drained, changed: false });
    expect((await read()).drained).toEqual(["eu-2"]);
    await resetDirectory();
    await until(async () => (await read()).drained.length === 1);
    expect(await env.CONTROL.drainPool("eu-2", false)).toMatchObject({ changed: true });
    expect((await read()).drained).toEqual([]);
  });

  it("warns where nobody else serves a model, and does it", async () => {
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1", "eu-2"] }));
    await env.CONTROL.drainPool("eu-1", true);
    expect(await env.CONTROL.drainPool("eu-2", true)).toMatchObject({
      changed: true,
      notes: [expect.stringContaining("No other pool takes requests for m:")],
    });
    expect((await read()).drained).toEqual(["eu-1", "eu-2"]);
  });

  it("is for configured pools, and ends with the pool", async () => {
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1", "eu-2"] }));
    expect(await env.CONTROL.drainPool("eu-3", true)).toEqual({
      ok: false,
      pools: ["eu-1", "eu-2"],
    });
    await env.CONTROL.drainPool("eu-2", true);
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1"] }));
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1", "eu-2"] }));
    expect((await read()).drained).toEqual([]);
  });
});

describe("a jurisdiction", () => {
  it("that this deployment does not keep is said, and changes no object", async () => {
    await env.CONTROL.putConfig(createDeployment());
    const { objectEpoch } = await env.POOLS.state("eu-1");
    const put = await env.CONTROL.putConfig(createDeployment({ jurisdiction: "eu" }));
    expect(put).toMatchObject({
      version: 2,
      pending: [],
      notes: [expect.stringContaining("Only Cloudflare keeps an object in a jurisdiction")],
    });
    const state = { objectEpoch, isConfigured: true, configVersion: 2 };
    expect(await env.POOLS.state("eu-1@eu")).toMatchObject(state);
    expect(await env.POOLS.state("eu-1")).toMatchObject(state);
    await env.CONTROL.putConfig(createDeployment());
    expect(await env.POOLS.state("eu-1")).toMatchObject({ isConfigured: true, configVersion: 3 });
  });
});

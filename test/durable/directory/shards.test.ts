// What the directory tells the objects of a pool that has several.

import { reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { SHARD_LEAVES_MS } from "../../../src/durable/directory/pool-teller.ts";
import { PoolStorage } from "../../../src/durable/pool-storage.ts";
import type { HeldGrant } from "../../../src/durable/contract.ts";
import { createDeployment } from "../deployments.ts";
import { endpoint, pickRequest, TestAgent, until } from "../pool-client.ts";

afterEach(() => reset());

const directory = () => env.DIRECTORY.getByName("directory");
const object = (address: string) => env.POOL.getByName(address);
const put = (shards: number, shape: object = {}) =>
  directory().put(createDeployment({ shards, ...shape }));

async function shardOf(address: string): Promise<unknown> {
  const { config } = await runInDurableObject(object(address), (_, { storage }) =>
    new PoolStorage(storage).config(),
  );
  return config === null ? null : config.shard;
}

/** As if all shards that are leaving had begun to so long ago. */
async function letTimePass(ms: number): Promise<void> {
  await runInDurableObject(directory(), (_, { storage }) => {
    storage.sql.exec("UPDATE leaving_shards SET since_ms = since_ms - ?", ms);
  });
}

/** Calls of the method fail until the object is reset: what is the instance's own is not there for RPC. */
async function lose(address: string, method: string): Promise<void> {
  await runInDurableObject(
    object(address),
    (instance) => void Object.assign(instance, { [method]: undefined }),
  );
}

const resetObject = (address: string) =>
  runInDurableObject(object(address), (_, ctx) => ctx.abort("reset")).catch(() => undefined);

/**
 * What the directory has to do is due. On a busy machine its alarm, which is a few seconds away, may have rung by
 * itself: go by what it has done, not by whether this has rung it.
 */
const ring = () => runDurableObjectAlarm(directory());

/** The directory has nothing more to do. */
const isDone = () =>
  runInDurableObject(directory(), async (_, { storage }) => (await storage.getAlarm()) === null);

const isConfigured = async (address: string) => (await object(address).state()).isConfigured;

describe("shards of a pool", () => {
  it("are each told which one they are, and the only object of a pool nothing of it", async () => {
    expect(await put(1)).toMatchObject({ ok: true, pending: [] });
    expect(await shardOf("eu-1")).toBeUndefined();
    expect(await put(3)).toMatchObject({ ok: true, pending: [] });
    expect(await shardOf("eu-1")).toEqual({ index: 0, count: 3 });
    expect(await shardOf("eu-1~2")).toEqual({ index: 2, count: 3 });
    expect(await object("eu-1~2").state()).toMatchObject({ pool: "eu-1", configVersion: 2 });
    expect(await isConfigured("eu-1~3")).toBe(false);
  });

  it("that do not count any more are told so, and go on", async () => {
    await put(3);
    await put(1);
    expect(await shardOf("eu-1")).toBeUndefined();
    expect(await shardOf("eu-1~1")).toEqual({ index: 1, count: 1 });
    expect(await shardOf("eu-1~2")).toEqual({ index: 2, count: 1 });
    await put(2);
    expect(await shardOf("eu-1~1")).toEqual({ index: 1, count: 2 });
    expect(await shardOf("eu-1~2")).toEqual({ index: 2, count: 2 });
  });

  it("are retired once they are empty and no isolate can think that they count", async () => {
    await put(2);
    const collector = await TestAgent.connect({ pool: "eu-1", shard: 1 }, "eu-1~1");
    collector.hello();
    await collector.received("configure");
    collector.membership([endpoint(1)]);
    const grant = await until(async () => {
      const answer = await env.POOLS.pick("eu-1~1", pickRequest("fl-1"));
      return "ticket" in answer ? (answer as unknown as HeldGrant) : undefined;
    });
    await put(1);
    await letTimePass(SHARD_LEAVES_MS - 60_000);
    await ring();
    expect(await isConfigured("eu-1~1")).toBe(true);
    await letTimePass(60_000);
    await ring();
    expect(await shardOf("eu-1~1")).toEqual({ index: 1, count: 1 });
    grant[Symbol.dispose]();
    await until(async () => (await object("eu-1~1").state()).tickets.open === 0);
    // Its usage is not settled yet: no relay has said anything. A reset forgets that.
    await resetObject("eu-1~1");
    await ring();
    await until(async () => !(await isConfigured("eu-1~1")));
    await until(isDone);
    expect(await isConfigured("eu-1")).toBe(true);
  });

  it("are there while they count, and until they are retired", async () => {
    const there = async () => {
      const shards = [0, 1, 2, 3, 15];
      const are = await Promise.all(shards.map((shard) => directory().hasShard("eu-1", shard)));
      return shards.filter((_, i) => are[i]);
    };
    await put(3);
    expect(await there()).toEqual([0, 1, 2]);
    await put(2);
    expect(await there()).toEqual([0, 1, 2]);
    await letTimePass(SHARD_LEAVES_MS);
    await ring();
    expect(await there()).toEqual([0, 1]);
    expect(await directory().hasShard("eu-2", 0)).toBe(false);
  });

  it("count again where they are wanted again while they leave", async () => {
    await put(2);
    await put(1);
    await put(2);
    await letTimePass(SHARD_LEAVES_MS);
    await until(isDone);
    expect(await shardOf("eu-1~1")).toEqual({ index: 1, count: 2 });
  });

  it("that are retired can be told to count again", async () => {
    await put(2);
    await put(1);
    await letTimePass(SHARD_LEAVES_MS);
    await ring();
    expect(await isConfigured("eu-1~1")).toBe(false);
    await put(2);
    expect(await shardOf("eu-1~1")).toEqual({ index: 1, count: 2 });
  });

  it("are all retired with their pool, also those that leave", async () => {
    await put(3);
    await put(2);
    await put(1, { pools: ["eu-2"] });
    for (const address of ["eu-1", "eu-1~1", "eu-1~2"])
      expect(await isConfigured(address)).toBe(false);
    await until(isDone);
  });

  it("that could not be told are told by alarm, and named once", async () => {
    await lose("eu-1~1", "configure");
    await lose("eu-1~2", "configure");
    expect(await put(4)).toMatchObject({ pending: ["eu-1"] });
    await resetObject("eu-1~1");
    await ring();
    await until(async () => (await shardOf("eu-1~1")) !== null);
    expect(await shardOf("eu-1~1")).toEqual({ index: 1, count: 4 });
    expect(await isConfigured("eu-1~2")).toBe(false);
    // It is not forgotten either where it does not count any more before it was told.
    await put(2);
    await resetObject("eu-1~2");
    await ring();
    await until(async () => (await shardOf("eu-1~2")) !== null);
    expect(await shardOf("eu-1~2")).toEqual({ index: 2, count: 2 });
  });

  it("take agents at addresses of their own", async () => {
    await put(2);
    const upgrade = (path: string) =>
      env.POOLS.fetch(`https://worker/agents/v1/${path}`, { headers: { upgrade: "websocket" } });
    const { webSocket } = await upgrade("eu-1~1");
    expect(webSocket).not.toBeNull();
    webSocket!.accept();
    webSocket!.close(1000, "done");
    expect((await upgrade("eu-1~2")).status).toBe(404);
    expect((await upgrade("eu-1~1~1")).status).toBe(404);
  });
});

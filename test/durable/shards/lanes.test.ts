// Several objects of a pool whose endpoints have nothing to do: where each sends what could go anywhere.

import { reset } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import type { HeldGrant, PickRequest } from "../../../src/durable/contract.ts";
import { contentKeys, endpoint, pickRequest } from "../pool-client.ts";
import { askShard, configureShards, connectAgents } from "./sharded-pool.ts";

afterEach(() => reset());

const SHARDS = 2;
const ENDPOINTS = 6;

let prompts = 0;

async function shardedPool(count = SHARDS): Promise<void> {
  await configureShards(count, { written: {}, version: 1 });
  await connectAgents(count, ENDPOINTS);
}

/** Where that shard sends a prompt that nobody knows: first, and then. */
async function sentTo(shard: number, requestId: string, more: Partial<PickRequest> = {}) {
  const keys = contentKeys(100 * ++prompts, 8);
  const asked = { ...pickRequest(requestId, { keys, promptTokens: 512 }), ...more };
  const grant = (await askShard(shard, asked)) as HeldGrant;
  expect(grant.ok).toBe(true);
  return grant.endpoints;
}

async function firstOf(shard: number, requests: number): Promise<string[]> {
  const addresses: string[] = [];
  for (let i = 0; i < requests; i++) addresses.push((await sentTo(shard, `r-${shard}-${i}`))[0]!);
  return addresses;
}

describe("objects of one pool", () => {
  it("do not meet at idle endpoints, and have those of the others to fall back on", async () => {
    await shardedPool();
    const [one, other] = [await firstOf(0, 3), await firstOf(1, 3)];
    expect(new Set([...one, ...other]).size).toBe(ENDPOINTS);
    const [first, ...next] = await sentTo(0, "more");
    expect(one).toContain(first);
    expect(next.some((each) => other.includes(each))).toBe(true);
  });

  it("take an isolate's proposal beyond their lane", async () => {
    await shardedPool();
    for (const n of [1, 2]) {
      const proposed = endpoint(n).address;
      expect((await sentTo(0, `p-${n}`, { proposed }))[0]).toBe(proposed);
    }
  });

  it("look beyond their lane for a request that has failed in it", async () => {
    await shardedPool();
    const lane = await firstOf(0, 3);
    const retried: string[] = [];
    for (let i = 0; i < ENDPOINTS; i++)
      retried.push((await sentTo(0, `again-${i}`, { exclude: [lane[0]!] }))[0]!);
    expect(retried.some((each) => !lane.includes(each))).toBe(true);
  });

  it("use all endpoints when they are alone again", async () => {
    await shardedPool();
    await configureShards(1, { written: {}, version: 2, told: SHARDS });
    expect(new Set(await firstOf(0, ENDPOINTS)).size).toBe(ENDPOINTS);
  });
});

import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { PickGrant } from "../../src/durable/contract.ts";
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
} from "./pool-client.ts";

const BLOCKS = 20;
const PROMPTS = [11, 12, 13, 14, 15];

afterEach(() => reset());

async function pick(requestId: string, prompt: number): Promise<PickGrant> {
  using handle = await env.POOLS.open(POOL);
  const result = await handle.pick(pickRequest(requestId, { keys: contentKeys(prompt, BLOCKS) }));
  if (!result.ok) throw new Error(`${result.reason}: ${result.detail}`);
  await handle.release("relay-unreachable");
  return result;
}

/** Serves each prompt on the second endpoint of its list. Returns who served it, by prompt. */
async function teach(): Promise<string[]> {
  const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
  const served: string[] = [];
  for (const prompt of PROMPTS) {
    using handle = await env.POOLS.open(POOL);
    const keys = contentKeys(prompt, BLOCKS);
    const grant = await handle.pick(pickRequest(`teach-${prompt}`, { keys }));
    if (!grant.ok) throw new Error(grant.detail);
    relay.reports([opened(grant), closed(grant, grant.endpoints[1]!)]);
    await relay.received("ack", served.length + 1);
    served.push(grant.endpoints[1]!);
  }
  return served;
}

async function metric(name: string): Promise<number> {
  const line = (await env.POOLS.metrics(POOL)).split("\n").find((each) => each.startsWith(name));
  return Number(line?.split(" ")[1]);
}

/** Once nothing is left to write, no timer keeps the object. */
async function restart(): Promise<void> {
  await until(() =>
    runInDurableObject(poolStub(), (_, { storage }) =>
      [...storage.kv.list({ prefix: "prefix-journal/" })].length > 1 ? true : undefined,
    ),
  );
  const { objectEpoch } = await poolStub().state();
  await evictDurableObject(poolStub(), { webSockets: "close" });
  expect((await poolStub().state()).objectEpoch).not.toBe(objectEpoch);
}

describe("an object that restarted", () => {
  it("knows at its first pick who holds which prefix", async () => {
    await poolWithEndpoints(8);
    const served = await teach();
    await restart();
    expect(await metric("llm_d_epp_prefix_indexer_size")).toBe(PROMPTS.length * BLOCKS);
    const again: string[] = [];
    for (const prompt of PROMPTS) again.push((await pick(`r-${prompt}`, prompt)).endpoints[0]!);
    expect(again).toEqual(served);
  });

  it("knows nothing of an endpoint that has left in the meantime", async () => {
    const collector = await poolWithEndpoints(8);
    const served = await teach();
    const staying = [1, 2, 3, 4, 5, 6, 7, 8].filter((n) => endpoint(n).address !== served[0]);
    collector.membership(staying.map(endpoint));
    await until(async () => (await poolStub().state()).endpoints.length === staying.length);
    await restart();
    const gone = served.filter((address) => address === served[0]).length;
    expect(await metric("llm_d_epp_prefix_indexer_size")).toBe((PROMPTS.length - gone) * BLOCKS);
    expect((await pick("r", PROMPTS[0]!)).endpoints).not.toContain(served[0]);
  });

  it("starts from nothing where the journal is damaged, and says so", async () => {
    await poolWithEndpoints(4);
    await teach();
    await until(async () => (await metric("fairlead_prefix_journal_bytes")) > 0);
    await runInDurableObject(poolStub(), (_, { storage }) => {
      for (const [key] of storage.kv.list({ prefix: "prefix-journal/row/" })) {
        storage.kv.put(key, new Uint8Array([1, 2, 3, 4]));
      }
    });
    await evictDurableObject(poolStub(), { webSockets: "close" });
    expect(await metric("llm_d_epp_prefix_indexer_size")).toBe(0);
    expect(await metric('fairlead_prefix_journal_rows_total{name="eu-1",outcome="corrupt"}')).toBe(
      1,
    );
    expect((await pick("r", PROMPTS[0]!)).endpoints).toHaveLength(4);
  });

  it("does not mind that there is no journal", async () => {
    await configurePool();
    await evictDurableObject(poolStub());
    expect(await metric("fairlead_prefix_journal_bytes")).toBe(0);
  });
});

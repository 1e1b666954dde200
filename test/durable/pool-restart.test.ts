import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { PickGrant } from "../../src/durable/contract.ts";
import { CONTENT_BLOCK_TOKENS, CONTENT_KEYS_MAX } from "../../src/scheduler/kv/content-keys.ts";
import { decodeJournalChunk } from "../../src/scheduler/kv/journal-chunk.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
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
  TestWorker,
} from "./pool-client.ts";

const ROW_PREFIX = "prefix-journal/row/";
const BLOCKS = 20;
/** One fills half a row of the journal: more rows than are read before the first pick. */
const LARGE_PROMPTS = 20;
const PROMPTS = [11, 12, 13, 14, 15];

afterEach(() => reset());

async function pick(requestId: string, prompt: number): Promise<PickGrant> {
  using worker = new TestWorker();
  const result = await worker.pick(pickRequest(requestId, { keys: contentKeys(prompt, BLOCKS) }));
  if (!result.ok) throw new Error(`${result.reason}: ${result.detail}`);
  await worker.release("relay-unreachable");
  return result;
}

/** Serves each prompt on the second endpoint of its list. Returns who served it, by prompt. */
async function teach(): Promise<string[]> {
  const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
  const served: string[] = [];
  for (const prompt of PROMPTS) {
    using worker = new TestWorker();
    const keys = contentKeys(prompt, BLOCKS);
    const grant = await worker.pick(pickRequest(`teach-${prompt}`, { keys }));
    if (!grant.ok) throw new Error(grant.detail);
    relay.reports([opened(grant), closed(grant, grant.endpoints[1]!)]);
    served.push(grant.endpoints[1]!);
  }
  // Learned where it was sent, taken back, learned where it was served.
  await until(async () => (await storedRecords()) === 3 * PROMPTS.length);
  return served;
}

async function metric(name: string): Promise<number> {
  const line = (await env.POOLS.metrics(POOL)).split("\n").find((each) => each.startsWith(name));
  return Number(line?.split(" ")[1]);
}

function storedRecords(): Promise<number> {
  return runInDurableObject(poolStub(), (_, { storage }) =>
    [...storage.kv.list({ prefix: ROW_PREFIX })]
      .map(([, row]) => decodeJournalChunk(row)?.records.length ?? 0)
      .reduce((sum, records) => sum + records, 0),
  );
}

/** Evicting waits until no timer keeps the object: once everything is written. */
async function restart(): Promise<void> {
  await until(async () => (await storedRecords()) > 0);
  const { objectEpoch } = await poolStub().state();
  await evictDurableObject(poolStub(), { webSockets: "close" });
  expect((await poolStub().state()).objectEpoch).not.toBe(objectEpoch);
}

describe("an object that restarted", { timeout: 20_000 }, () => {
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

  it("answers while it still reads a large journal, and reads it to its end", async () => {
    await configurePool();
    const collector = await TestAgent.greeted();
    collector.membership([endpoint(1)]);
    collector.metrics([{ endpoint: 0, fields: [0, 0, 0, CONTENT_BLOCK_TOKENS, 100_000] }]);
    await until(async () => (await poolStub().state()).endpoints[0]?.kvCapacityTokens);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    for (let i = 1; i <= LARGE_PROMPTS; i++) {
      using worker = new TestWorker();
      const rng = createRng(i);
      const keys = Uint32Array.from({ length: CONTENT_KEYS_MAX * 2 }, () => rng() * 2 ** 32);
      const grant = await worker.pick(pickRequest(`large-${i}`, { keys }));
      if (!grant.ok) throw new Error(grant.detail);
      relay.reports([opened(grant), closed(grant)]);
    }
    const blocks = LARGE_PROMPTS * CONTENT_KEYS_MAX;
    await until(async () => (await metric("llm_d_epp_prefix_indexer_size")) === blocks);
    await until(async () => (await metric("fairlead_prefix_journal_bytes")) > blocks * 8);
    await restart();
    // Some rows are left for later; picks do not wait for them.
    expect((await pick("r", PROMPTS[0]!)).endpoints).toHaveLength(1);
    await until(async () => (await metric("llm_d_epp_prefix_indexer_size")) === blocks);
  });

  it("starts from nothing where the journal is damaged, and says so", async () => {
    await poolWithEndpoints(4);
    await teach();
    await runInDurableObject(poolStub(), (_, { storage }) => {
      for (const [key] of storage.kv.list({ prefix: ROW_PREFIX })) {
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

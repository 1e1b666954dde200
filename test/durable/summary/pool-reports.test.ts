// What a pool's object tells the directory, as whoever reads the configuration hears it.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { HeldGrant } from "../../../src/durable/contract.ts";
import type { PoolDigest } from "../../../src/durable/directory/contract.ts";
import { CacheDigest } from "../../../src/scheduler/kv/digest/cache-digest.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";
import { createDeployment } from "../deployments.ts";
import {
  contentKeys,
  endpoint,
  opened,
  pickRequest,
  POOL,
  poolStub,
  TestAgent,
  TestWorker,
  until,
} from "../pool-client.ts";

afterEach(() => reset());

interface Heard {
  readonly summary: PoolSummary;
  readonly ageMs: number;
  readonly digest: PoolDigest | undefined;
}

/** What an isolate is told that knows nothing yet. */
async function heard(): Promise<Heard | undefined> {
  const known = { epoch: "", revision: 0, digests: [{ pool: POOL, known: "" }] };
  const { pools } = await env.CONTROL.readConfig(0, known);
  const [first] = pools!.summaries;
  if (first === undefined) return undefined;
  const digest = pools!.digests[0] as PoolDigest | undefined;
  return { summary: JSON.parse(first.json) as PoolSummary, ageMs: first.ageMs, digest };
}

async function heardWhere(isIt: (heard: Heard) => boolean): Promise<Heard> {
  return until(async () => {
    const last = await heard();
    return last !== undefined && isIt(last) ? last : undefined;
  });
}

/** As the directory makes it, with a collector that tells of so many endpoints. */
async function poolOf(count: number): Promise<TestAgent> {
  await env.CONTROL.putConfig(createDeployment());
  const collector = await TestAgent.greeted();
  const endpoints = Array.from({ length: count }, (_, i) => endpoint(i + 1));
  collector.membership(endpoints);
  collector.metrics(endpoints.map((_, i) => ({ endpoint: i, fields: [3, 2, 0.5, 16, 4_000] })));
  return collector;
}

describe("a pool's object", () => {
  it("says that it is there before anybody has told it anything of the pool", async () => {
    await env.CONTROL.putConfig(createDeployment());
    const { summary } = await heardWhere(() => true);
    expect(summary).toMatchObject({ pool: POOL, configVersion: 1 });
    expect(summary.membership).toBeUndefined();
    expect(summary.load).toBeUndefined();
  });

  it("tells who is there and what they carry, each with its age", async () => {
    await poolOf(2);
    const { summary } = await heardWhere(({ summary: { membership } }) => membership?.usable === 2);
    expect(summary.membership).toMatchObject({ endpoints: 2, usable: 2, agents: 1 });
    expect(summary.load).toMatchObject({ queueDepth: 3, kvUsage: 0.5, kvCapacityTokens: 128_000 });
    expect(summary.membership!.ageMs).toBeLessThan(2_000);
    expect(summary.load!.ageMs).toBeLessThan(2_000);
    expect(summary.load!.waitMs).toBe(0);
  });

  it("tells of what is in flight, and that less is when it has ended", async () => {
    await poolOf(1);
    const worker = new TestWorker();
    const grant = await worker.pick(pickRequest("r"));
    expect(grant.ok).toBe(true);
    const { summary } = await heardWhere((last) => last.summary.load?.inFlightRequests === 1);
    expect(summary.load!.inFlightTokens).toBeGreaterThan(1_000);
    expect(summary.load!.pendingPrefillTokens).toBeGreaterThan(0);
    await worker.release("relay-unreachable");
    worker[Symbol.dispose]();
    await heardWhere((last) => last.summary.load?.inFlightRequests === 0);
  });

  it("says at once that endpoints cannot be reached, and that agents have left", async () => {
    const collector = await poolOf(2);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    await heardWhere(({ summary: { membership } }) => membership?.agents === 2);
    relay.marks([{ endpoint: endpoint(1).address, leaseMs: 20_000, why: "refused" }]);
    await heardWhere(({ summary: { membership } }) => membership?.usable === 1);
    collector.close();
    relay.close();
    const { summary } = await heardWhere(({ summary: { membership } }) => membership?.agents === 0);
    // Its leases run on.
    expect(summary.membership!.endpoints).toBe(2);
  });

  it("counts on within an incarnation, and begins another when it begins anew", async () => {
    await poolOf(1);
    const first = await heardWhere(({ summary }) => summary.load !== undefined);
    const { objectEpoch } = await poolStub().state();
    expect(first.summary.incarnation).toBe(objectEpoch);
    await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const second = await heardWhere(({ summary }) => summary.seq > first.summary.seq);
    expect(second.summary.incarnation).toBe(objectEpoch);
    await runInDurableObject(poolStub(), (_, ctx) => ctx.abort("reset")).catch(() => undefined);
    await until(async () => (await poolStub().state()).objectEpoch !== objectEpoch);
    const after = await heardWhere(({ summary }) => summary.incarnation !== objectEpoch);
    expect(after.summary.seq).toBeLessThan(second.summary.seq + 10);
  });

  it("tells what its caches hold, and anew when they hold more", { timeout: 30_000 }, async () => {
    await poolOf(1);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const empty = await heardWhere(({ digest }) => digest !== undefined);
    const keys = contentKeys(77);
    expect(CacheDigest.decode(empty.digest!.bytes)!.matchedBlocksMax(keys)).toBe(0);
    expect(empty.digest!.version).toBe(empty.summary.digestVersion);
    using worker = new TestWorker();
    const grant = await worker.pick(pickRequest("r", { keys }));
    if (!grant.ok) throw new Error(grant.detail);
    relay.reports([opened(grant)]);
    const { digest } = await heardWhere((last) => last.digest!.version !== empty.digest!.version);
    const decoded = CacheDigest.decode(digest!.bytes)!;
    expect(decoded.isComplete).toBe(true);
    expect(decoded.matchedBlocks(keys)).toBe(keys.length / 2);
    expect(decoded.matchedBlocks(contentKeys(78))).toBe(0);
  });

  it("gives its summary to who picks, too", async () => {
    await poolOf(1);
    await until(async () => (await poolStub().state()).endpoints[0]?.isFresh);
    using grant = (await env.POOLS.pick(POOL, {
      ...pickRequest("r"),
      edge: { epoch: "", version: 0 },
    })) as unknown as HeldGrant;
    expect(grant.edge?.summary).toMatchObject({
      pool: POOL,
      membership: { endpoints: 1, usable: 1 },
      load: { inFlightRequests: 1 },
    });
  });

  it("falls silent once its pool is no longer configured", async () => {
    await poolOf(1);
    await heardWhere(({ summary }) => summary.load !== undefined);
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-2"] }));
    await until(async () => !(await poolStub().state()).isConfigured);
    const reports = async () =>
      (await poolStub().metrics()).split("\n").find((line) => /_pool_reports_total/.test(line));
    const before = await reports();
    await scheduler.wait(1_500);
    expect(await reports()).toBe(before);
  });
});

// A pool's object whose endpoints are upstreams on real sockets.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, inject, it } from "vitest";
import type { HeldGrant, WorkerEnd } from "../../../src/durable/contract.ts";
import type { PoolUpstream } from "../../../src/durable/upstreams/pool-upstream.ts";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { gatewayMetrics, scriptUpstream, seenByUpstream } from "./upstream-scripts.ts";
import { endpoint, pickRequest, POOL, poolStub, TestAgent, until } from "../pool-client.ts";

afterEach(() => reset());

const metricsOf = (name: string) => ({
  url: `${inject("upstreamUrl")}/${name}/metrics`,
  kvUsage: "llm_d_epp_average_kv_cache_utilization",
  queueSize: "llm_d_epp_average_queue_size",
  intervalMs: 200,
  token: "metrics-token-0123456789",
});
const gateway = (name: string): PoolUpstream => ({
  name,
  kind: "gateway",
  labels: { zone: "a" },
  metrics: metricsOf(name),
});
const api = (name: string): PoolUpstream => ({ name, kind: "openai", labels: {} });

async function configure(
  upstreams: readonly PoolUpstream[],
  version = 1,
  given: object = {},
): Promise<void> {
  const scheduler = schedulerConfigSchema.parse(given);
  await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler, upstreams }, version);
}

const states = async () => (await poolStub().state()).endpoints;
const stateOf = async (name: string) => (await states()).find(({ id }) => id === name)!;
const isFresh = (name: string) => async () => (await stateOf(name)).isFresh;

async function pick(requestId: string): Promise<HeldGrant> {
  const result = (await env.POOLS.pick(POOL, pickRequest(requestId))) as unknown as HeldGrant;
  if (!result.ok) throw new Error(JSON.stringify(result));
  return result;
}

const END: WorkerEnd = { status: 200, outcome: "completed", ttftMs: 30, durationMs: 90 };

describe("upstreams as endpoints", () => {
  it("are there as configured, whatever collectors claim, and leave with the configuration", async () => {
    await configure([gateway("a"), api("b")]);
    expect(await states()).toMatchObject([
      { id: "a", address: "a", engine: "gateway" },
      { id: "b", address: "b", engine: "openai" },
    ]);
    const collector = await TestAgent.greeted();
    collector.membership([endpoint(1)]);
    await configure([api("b")], 2);
    expect((await states()).map(({ id }) => id)).toEqual(["b"]);
    await configure([], 3);
    await until(async () => (await states()).map(({ id }) => id).join() === endpoint(1).id);
  });

  it("are there again after the object has lost its memory", async () => {
    await configure([api("b")]);
    const { objectEpoch } = await poolStub().state();
    await runInDurableObject(poolStub(), (_, ctx) => ctx.abort("reset")).catch(() => undefined);
    await until(async () => (await poolStub().state()).objectEpoch !== objectEpoch);
    using grant = await pick("r");
    expect(grant.endpoints).toEqual(["b"]);
  });
});

describe("an upstream that publishes its load", () => {
  it("is read with its token, and avoided where its queue is longer", async () => {
    await scriptUpstream("a", { metrics: gatewayMetrics(0) });
    await scriptUpstream("b", { metrics: gatewayMetrics(7.2, 0.9) });
    await configure([gateway("a"), gateway("b")]);
    await until(isFresh("a"));
    await until(isFresh("b"));
    expect(await stateOf("b")).toMatchObject({ queueDepth: 8, kvUsage: 0.9, scrape: "ok" });
    using first = await pick("r1");
    expect(first.endpoints[0]).toBe("a");
    await scriptUpstream("a", { metrics: gatewayMetrics(30) });
    await scriptUpstream("b", { metrics: gatewayMetrics(0) });
    await until(
      async () => (await stateOf("a")).queueDepth >= 30 && (await stateOf("b")).queueDepth === 0,
    );
    using second = await pick("r2");
    expect(second.endpoints[0]).toBe("b");
    const [read] = await seenByUpstream("a");
    expect(read!.headers["authorization"]).toBe("Bearer metrics-token-0123456789");
  });

  it("is stale as soon as it stops, and never sampled before it began", async () => {
    await scriptUpstream("a", {});
    await configure([gateway("a")]);
    await until(async () => (await stateOf("a")).scrape === "unreachable");
    expect(await stateOf("a")).toMatchObject({ isFresh: false, sampleAgeMs: null });
    await scriptUpstream("a", { metrics: "llm_d_epp_average_kv_cache_utilization 0.5\n" });
    await until(async () => (await stateOf("a")).scrape === "malformed");
    expect((await stateOf("a")).isFresh).toBe(false);
    await scriptUpstream("a", { metrics: gatewayMetrics(1) });
    await until(isFresh("a"));
    await scriptUpstream("a", {});
    await until(async () => !(await stateOf("a")).isFresh);
    // It is chosen all the same where no other is left.
    using grant = await pick("r");
    expect(grant.endpoints).toEqual(["a"]);
  });

  it("counts what is sent there as spread over its endpoints", async () => {
    await scriptUpstream("a", { metrics: gatewayMetrics(1, 0.2, 4) });
    await configure([{ ...gateway("a"), metrics: { ...metricsOf("a"), intervalMs: 60_000 } }]);
    await until(isFresh("a"));
    const grants = await Promise.all(["1", "2", "3", "4"].map((n) => pick(`r${n}`)));
    expect(await stateOf("a")).toMatchObject({ queueDepth: 2, inFlightRequests: 4 });
    for (const grant of grants) grant[Symbol.dispose]();
  });

  it("fills what hub-mode plugins read", async () => {
    await scriptUpstream("a", { metrics: gatewayMetrics(9) });
    await scriptUpstream("b", { metrics: gatewayMetrics(2) });
    await configure([gateway("a"), gateway("b")], 1, {
      plugins: [{ type: "multicluster-queue-scorer" }],
      schedulingProfiles: [
        { name: "default", plugins: [{ pluginRef: "multicluster-queue-scorer", weight: 1 }] },
      ],
    });
    await until(isFresh("a"));
    await until(isFresh("b"));
    using grant = await pick("r");
    expect(grant.endpoints[0]).toBe("b");
    const { explanation } = await env.POOLS.explain(POOL, "r");
    const scores = explanation!.attempts[0]!.candidates.map(({ scores: each }) => each);
    expect(scores).toContainEqual({ "multicluster-queue-scorer": 1 });
  });
});

describe("an upstream that publishes no load", () => {
  it("is known by what was sent there, and is never stale", async () => {
    await configure([api("a"), api("b")]);
    using first = await pick("r1");
    using second = await pick("r22");
    using third = await pick("r333");
    expect(await states()).toMatchObject([
      { isFresh: true, sampleAgeMs: null },
      { isFresh: true, sampleAgeMs: null },
    ]);
    const { endpoints } = await poolStub().state();
    expect(endpoints.map(({ queueDepth }) => queueDepth).toSorted((x, y) => x - y)).toEqual([1, 2]);
    for (const grant of [first, second, third]) await grant.handle.release("cancelled");
    await until(async () => (await states()).every(({ queueDepth }) => queueDepth === 0));
  });

  it("is not full for a detector that goes by what endpoints report", async () => {
    const flowControl = { featureGates: ["flowControl"] };
    await configure([api("a")], 1, flowControl);
    using grant = await pick("r");
    expect(grant.endpoints).toEqual(["a"]);
    expect((await poolStub().queueState())!).toMatchObject({ saturation: 0, staleEndpoints: 0 });
  });

  it("becomes one that is sampled, and none again, by configuration", async () => {
    await scriptUpstream("a", { metrics: gatewayMetrics(3) });
    await configure([api("a")]);
    await configure([gateway("a")], 2);
    await until(async () => (await stateOf("a")).sampleAgeMs !== null);
    await configure([api("a")], 3);
    expect(await stateOf("a")).toMatchObject({ isFresh: true, sampleAgeMs: null, queueDepth: 0 });
  });
});

describe("tickets of upstreams", () => {
  const metrics = async () => await poolStub().metrics();

  it("are settled by the Worker's word", async () => {
    await configure([api("a")]);
    using grant = await pick("r");
    await grant.handle.settle({
      ...END,
      usage: { promptTokens: 1_300, cachedTokens: 600, completionTokens: 40 },
    });
    expect((await poolStub().state()).tickets).toEqual({ open: 0, unsettled: 0 });
    expect(await metrics()).toMatch(/llm_d_epp_request_cached_tokens_sum\{[^}]*\} 600\n/);
    const { explanation } = await env.POOLS.explain(POOL, "r");
    expect(explanation!.attempts[0]!.result).toMatchObject({
      endpoint: "a",
      outcome: "completed",
      promptTokens: 1_300,
      completionTokens: 40,
    });
  });

  it("wait to be estimated where the usage is not known", async () => {
    await configure([api("a")]);
    using grant = await pick("r");
    await grant.handle.settle(END);
    expect((await poolStub().state()).tickets).toEqual({ open: 0, unsettled: 1 });
    expect((await states())[0]!.inFlightRequests).toBe(0);
  });

  it("are settled once, and not by a handle that no longer guards them", async () => {
    await configure([api("a")]);
    using old = await pick("r");
    using grant = await pick("r");
    expect(grant.ticket).toBe(old.ticket);
    const usage = { promptTokens: 100, cachedTokens: null, completionTokens: 4 };
    await old.handle.settle({ ...END, usage });
    expect((await poolStub().state()).tickets.open).toBe(1);
    await grant.handle.settle({ ...END, usage });
    await grant.handle.settle({ ...END, usage });
    expect(await metrics()).toMatch(/llm_d_epp_request_input_tokens_count\{[^}]*\} 1\n/);
  });

  it("are given up with their handle, and count as nothing", async () => {
    await configure([api("a")]);
    const grant = await pick("r");
    grant[Symbol.dispose]();
    await until(async () => (await poolStub().state()).tickets.open === 0);
    expect(await metrics()).not.toContain("llm_d_epp_request_input_tokens_sum");
  });

  it("teach what the upstream has cached, unless it was not reached", async () => {
    await configure([api("a"), api("b")]);
    using lost = await pick("lost");
    await lost.handle.release("relay-unreachable");
    const avoided = lost.endpoints[0]!;
    expect((await stateOf(avoided)).ejectedMs).toBeGreaterThan(0);
    using served = await pick("rest");
    expect(served.endpoints[0]).not.toBe(avoided);
    await served.handle.settle(END);
    await until(async () => (await stateOf(avoided)).ejectedMs === 0);
    using again = await pick("next");
    expect(again.endpoints[0]).toBe(served.endpoints[0]);
    const { explanation } = await env.POOLS.explain(POOL, "next");
    const matched = explanation!.attempts[0]!.candidates.map(({ address, matchedBlocks }) => [
      address,
      matchedBlocks > 0,
    ]);
    expect(Object.fromEntries(matched)).toEqual({
      [served.endpoints[0]!]: true,
      [avoided]: false,
    });
  });
});

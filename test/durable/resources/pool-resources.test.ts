// What a pool's object makes of what its cluster says, and the way of it to the directory.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { encodeFrame, FRAME } from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import type {
  PoolResources,
  PoolsKnown,
  PoolsRead,
  ResourcesReported,
} from "../../../src/durable/directory/contract.ts";
import {
  ClusterResources,
  PUSH_INTERVAL_MS,
  PUSH_RETRY_MS_MAX,
} from "../../../src/durable/resources/pool-resources.ts";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { createDeployment } from "../deployments.ts";
import { configurePool, POOL, poolStub, TestAgent, until } from "../pool-client.ts";

afterEach(() => reset());

const gold = { name: "gold", priority: 9 };
const rules = [{ matches: [{ model: { value: "fast" } }], targets: [{ modelRewrite: "m-8b" }] }];
const FLOW_CONTROL = { featureGates: ["flowControl"] };
const NOTHING: PoolsKnown = { epoch: "", revision: 0, digests: [], resources: 0 };

async function read(known: PoolsKnown = NOTHING): Promise<PoolsRead> {
  return (await env.CONTROL.readConfig(1, known)).pools!;
}

const told = ({ resources }: PoolsRead) =>
  resources!.pools.map(({ json }) => JSON.parse(json) as PoolResources);

async function abort(object: DurableObjectStub): Promise<void> {
  await runInDurableObject(object, (_, ctx) => ctx.abort("reset")).catch(() => {});
}
const directory = () => env.DIRECTORY.getByName("directory");

async function bands(): Promise<number[]> {
  return (await poolStub().queueState())!.bands.map(({ priority }) => priority);
}

const named = async () => (await poolStub().state()).clusterResources;

describe("a pool's object", () => {
  it("asks collectors for resources, and only those of this version", async () => {
    await configurePool();
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const former = await TestAgent.greeted({ v: 1, agent: "collector-1" });
    const collector = await TestAgent.greeted();
    expect((await collector.received("configure")).takesResources).toBe(true);
    expect((await former.received("configure")).takesResources).toBeUndefined();
    expect((await relay.received("configure")).takesResources).toBeUndefined();
    former.resources({ objectives: [gold] });
    await until(() => former.closed);
    relay.resources({ objectives: [gold] });
    expect((await relay.received("refused")).message).toMatch(/only a collector/);
    expect(await named()).toBeUndefined();
  });

  it("has a band for each objective that the configuration lets the cluster have", async () => {
    await configurePool(1, 200, FLOW_CONTROL);
    const collector = await TestAgent.greeted();
    collector.resources({ objectives: [gold, { name: "bulk", priority: -5 }], rewrites: [] });
    await until(async () => (await bands()).includes(9));
    expect(await bands()).toContain(-5);
  });

  it("has none where the configuration does not let it, and those of the configuration", async () => {
    await poolStub().configure(
      {
        name: POOL,
        scrapeIntervalMs: 200,
        scheduler: schedulerConfigSchema.parse(FLOW_CONTROL),
        objectivePriorities: [4],
        clusterResources: ["rewrites"],
      },
      1,
    );
    const collector = await TestAgent.greeted();
    collector.resources({ objectives: [gold], rewrites: [] });
    await until(named);
    expect(await bands()).toContain(4);
    expect(await bands()).not.toContain(9);
  });

  it("goes on with what it was told, in another life and without its collector", async () => {
    await configurePool(1, 200, FLOW_CONTROL);
    const collector = await TestAgent.greeted();
    collector.resources({ objectives: [gold], rewrites: [{ name: "r", rules }] });
    await until(async () => (await named())?.objectives.length === 1);
    collector.close();
    await abort(poolStub());
    await until(async () => (await bands()).includes(9));
    expect(await named()).toMatchObject({ objectives: ["gold"], rewrites: ["r"] });
    await poolStub().retire(2);
    await configurePool(3);
    expect(await named()).toBeUndefined();
  });

  it("says what is mistaken, in its state and metrics", async () => {
    await configurePool();
    const collector = await TestAgent.greeted();
    collector.resources({ objectives: [gold, { name: "bad", priority: "high" }], rewrites: [] });
    const state = await until(named);
    expect(state).toMatchObject({
      objectives: ["gold"],
      mistaken: { objectives: [{ name: "bad", why: expect.stringMatching(/^priority: /) }] },
    });
    const metrics = await poolStub().metrics();
    expect(metrics).toContain(`fairlead_cluster_resources{pool="${POOL}",kind="objectives"} 1`);
    expect(metrics).toContain(
      `fairlead_cluster_resources_ignored{pool="${POOL}",kind="objectives",why="mistaken"} 1`,
    );
  });

  it("refuses a frame that is larger than what isolates hold", async () => {
    await configurePool();
    const collector = await TestAgent.greeted();
    const say = (chars: number) => {
      const json = JSON.stringify({ objectives: [{ name: "x", note: "y".repeat(chars) }] });
      const payload = new TextEncoder().encode(json);
      collector.frame((place) => encodeFrame({ type: FRAME.resources, ...place }, payload));
      return payload.byteLength;
    };
    const bytes = say(0);
    say(PROTOCOL_LIMITS.resourcesBytesMax - bytes);
    await until(named);
    expect(collector.closed).toBeUndefined();
    say(PROTOCOL_LIMITS.resourcesBytesMax - bytes + 1);
    await until(() => collector.closed);
  });
});

describe("the directory", () => {
  it("has what the pool's object has, tells what is newer, and has it after a reset", async () => {
    await env.CONTROL.putConfig(createDeployment());
    const collector = await TestAgent.greeted();
    collector.resources({ objectives: [gold], rewrites: [] });
    const first = await until(async () => {
      const answer = await read();
      return told(answer).length === 1 ? answer : undefined;
    });
    expect(told(first)).toMatchObject([{ pool: POOL, objectives: [gold], rewrites: [] }]);
    const known = { ...NOTHING, epoch: first.epoch, resources: first.resources!.revision };
    expect(told(await read(known))).toEqual([]);
    const { epoch, revision, digests } = known;
    expect((await read({ epoch, revision, digests })).resources).toBeUndefined();

    collector.resources({ objectives: [], rewrites: [{ name: "r", rules }] });
    // The first change is told at once, and the next a second later, when the collector speaks.
    const second = await until(async () => {
      collector.membership([]);
      const answer = await read(known);
      return told(answer).length === 1 ? answer : undefined;
    });
    expect(told(second)).toMatchObject([{ objectives: [], rewrites: [{ name: "r" }] }]);
    await abort(directory());
    const after = await until(async () => {
      const answer = await read({ ...known, resources: second.resources!.revision });
      return answer.epoch === first.epoch ? undefined : answer;
    });
    expect(told(after)).toEqual(told(second));
  });

  it("keeps nothing of a pool that is not configured, and forgets one that is no more", async () => {
    const of = (pool: string, version: number): PoolResources => ({
      pool,
      version,
      objectives: [gold],
      rewrites: [],
    });
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1", "eu-2"] }));
    expect(await env.CONTROL.reportResources(of("stranger", 1))).toEqual({ isKnown: false });
    expect(await env.CONTROL.reportResources(of("eu-2", 5))).toEqual({ isKnown: true });
    expect(await env.CONTROL.reportResources(of("eu-2", 4))).toEqual({ isKnown: true });
    expect(told(await read())).toMatchObject([{ pool: "eu-2", version: 5 }]);
    const large = { ...gold, name: "x".repeat(70_000) };
    await env.CONTROL.reportResources({ ...of("eu-2", 6), objectives: [large] });
    expect(told(await read())).toMatchObject([{ pool: "eu-2", version: 5 }]);
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1"] }));
    await env.CONTROL.putConfig(createDeployment({ pools: ["eu-1", "eu-2"] }));
    expect(told(await read())).toEqual([]);
    const { epoch } = await read();
    await abort(directory());
    const after = await until(async () => {
      const answer = await read();
      return answer.epoch === epoch ? undefined : answer;
    });
    expect(told(after)).toEqual([]);
  });

  it("gives a megabyte a read, and the rest with the next", async () => {
    const pools = Array.from({ length: 40 }, (_, i) => `p${i}`);
    await env.CONTROL.putConfig(createDeployment({ pools }));
    const objectives = Array.from({ length: 200 }, (_, i) => ({
      name: `${"x".repeat(240)}${i}`,
      priority: 0,
    }));
    for (const pool of pools)
      await env.CONTROL.reportResources({ pool, version: 1, objectives, rewrites: [] });
    const names: string[] = [];
    let known = NOTHING;
    for (let reads = 0; reads < 3; reads++) {
      const answer = await read(known);
      expect(told(answer).length).toBeLessThan(pools.length / 2);
      names.push(...told(answer).map(({ pool }) => pool));
      known = { ...NOTHING, epoch: answer.epoch, resources: answer.resources!.revision };
    }
    expect(names).toEqual(pools);
  });
});

describe("a push", () => {
  const payload = (priority: number) => ({ objectives: [{ name: "gold", priority }] });

  /** Of an object whose directory answers as `answer` does. */
  async function pushing(
    answer: () => Promise<ResourcesReported>,
    steps: (resources: ClusterResources, clock: { nowMs: number }) => Promise<void>,
  ): Promise<number[]> {
    const versions: number[] = [];
    await configurePool();
    await runInDurableObject(poolStub(), async (_, { storage }) => {
      const clock = { nowMs: 1_000_000 };
      const resources = new ClusterResources({
        storage,
        control: {
          reportResources({ version }) {
            versions.push(version);
            return answer();
          },
        },
        clock: () => clock.nowMs,
        registry: new MetricRegistry(),
        pool: () => POOL,
        onChanged: () => undefined,
      });
      await steps(resources, clock);
    });
    return versions;
  }
  const answered = () => scheduler.wait(1);

  it("comes once for each change, and a second after the one before", async () => {
    const isKnown = () => Promise.resolve({ isKnown: true });
    const versions = await pushing(isKnown, async (resources, clock) => {
      resources.told(payload(1));
      await answered();
      resources.told(payload(1));
      resources.told(payload(2));
      resources.push();
      await answered();
      clock.nowMs += PUSH_INTERVAL_MS;
      resources.push();
      await answered();
      clock.nowMs += PUSH_INTERVAL_MS;
      resources.push();
      await answered();
    });
    expect(versions).toEqual([1_000_000, 1_000_001]);
  });

  it("is made again, more and more seldom, to a directory that is away or of before", async () => {
    const fails = () => Promise.reject(new TypeError("no such method"));
    const versions = await pushing(fails, async (resources, clock) => {
      resources.told(payload(1));
      await answered();
      for (let seconds = 0; seconds < 600; seconds++) {
        clock.nowMs += 1_000;
        resources.push();
        await Promise.resolve();
        if (seconds % 10 === 0) await answered();
      }
    });
    expect(versions.length).toBeGreaterThan(10);
    expect(versions.length).toBeLessThan(6 + 600_000 / PUSH_RETRY_MS_MAX);
  });
});

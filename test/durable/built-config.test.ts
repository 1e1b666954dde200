// A configuration that no picker can be made of: refused, and not the end of an object that has one.

import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { PoolStorage } from "../../src/durable/pool-storage.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { pluginOf } from "../../src/scheduler/registry.ts";
import { METRIC } from "../../src/telemetry/names.ts";
import {
  configurePool,
  pickRequest,
  POOL,
  poolStub,
  poolWithEndpoints,
  TestWorker,
} from "./pool-client.ts";

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

const TYPE = "load-aware-scorer";
const broken = schedulerConfigSchema.parse({ plugins: [{ type: TYPE }] });

/** As if a release had a plugin whose schema takes what its constructor does not. */
function breakPlugin(): void {
  vi.spyOn(pluginOf(TYPE), "create").mockImplementation(() => {
    throw new Error("cannot be made");
  });
}

const storedConfig = () =>
  runInDurableObject(poolStub(), (_, { storage }) => new PoolStorage(storage).config());

describe("a configuration that cannot be made", () => {
  it("is refused before it is stored", async () => {
    breakPlugin();
    await configurePool(1);
    const config = { name: POOL, scrapeIntervalMs: 200, scheduler: broken };
    await runInDurableObject(poolStub(), (pool) => {
      expect(() => pool.configure(config, 2)).toThrow("cannot be made");
    });
    expect(await poolStub().state()).toMatchObject({ configVersion: 1 });
    expect(await storedConfig()).toMatchObject({ version: 1 });
  });

  it("that is stored gives way to the default, and to the directory's next word", async () => {
    const config = { name: POOL, scrapeIntervalMs: 200, scheduler: broken };
    await poolStub().configure(config, 7);
    breakPlugin();
    await evictDurableObject(poolStub());
    expect(await poolStub().state()).toMatchObject({ isConfigured: true, configVersion: 0 });
    expect(await poolStub().metrics()).toContain(`${METRIC.configFallbacksTotal.name} 1`);
    await configurePool(7);
    expect(await poolStub().state()).toMatchObject({ configVersion: 7 });
  });
});

describe("a configuration", () => {
  it("is stored as it was checked, not as it came", async () => {
    const written = { plugins: [{ type: "queue-scorer" }] } as never;
    await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler: written }, 1);
    const { config } = await storedConfig();
    expect(config!.scheduler).toEqual(schedulerConfigSchema.parse(written));
    expect(await poolStub().state()).toMatchObject({ isConfigured: true, configVersion: 1 });
  });
});

describe("a plugin that throws while it decides", () => {
  it("is counted by its type, and the decision stands", async () => {
    await poolWithEndpoints(2);
    const scheduler = schedulerConfigSchema.parse({ plugins: [{ type: TYPE }] });
    const throwing = {
      score: () => {
        throw new Error("at work");
      },
    };
    vi.spyOn(pluginOf(TYPE), "create").mockReturnValue(throwing as never);
    await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler }, 2);
    using worker = new TestWorker();
    expect(await worker.pick(pickRequest("r"))).toMatchObject({ ok: true });
    const { name } = METRIC.pluginFailuresTotal;
    expect(await poolStub().metrics()).toContain(`${name}{plugin_type="${TYPE}"} 1`);
  });
});

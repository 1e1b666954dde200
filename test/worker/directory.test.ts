// The Worker's copy of the configuration and of what pools say, against the real directory.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PoolSummary } from "../../src/scheduler/pools/summary.ts";
import { forgetDirectory, readDirectory } from "../../src/worker/directory.ts";
import { metrics } from "../../src/worker/metrics.ts";
import { knownPools } from "../../src/worker/pools/known-pools.ts";
import { until } from "../durable/pool-client.ts";
import { applyConfiguration, configuration, heardOf } from "./support/deployment.ts";

const MINUTE_MS = 60_000;

/** Each test is another incarnation of the pool's object. */
let incarnation = 0;

beforeEach(async () => {
  incarnation++;
  await applyConfiguration(configuration());
  await heardOf("us-1");
});

afterEach(async () => {
  vi.useRealTimers();
  forgetDirectory();
  await reset();
});

function summary(seq: number): PoolSummary {
  return { pool: "us-1", incarnation: `i${incarnation}`, seq, configVersion: 1 };
}

/** One request's read, and what it does in the background. */
async function read(of: Env = env) {
  const background: Promise<void>[] = [];
  const index = await readDirectory(of, (work) => background.push(work));
  await Promise.all(background);
  return index;
}

/** A Worker whose directory does not answer. */
const away = {
  ...env,
  CONTROL: { readConfig: () => Promise.reject(new Error("the directory is away")) },
} as unknown as Env;

async function readsSoFar(): Promise<number> {
  const text = await env.CONTROL.directoryMetrics();
  return Number(/^fairlead_directory_reads_total (\d+)$/m.exec(text)?.[1] ?? 0);
}

describe("reading the directory", () => {
  it("brings the configuration and what pools say in one call", async () => {
    await env.CONTROL.reportPool(summary(1));
    const before = await readsSoFar();
    expect((await read())?.version).toBe(1);
    expect(knownPools.summaryOf("us-1")).toMatchObject({ summary: { seq: 1 } });
    expect(await readsSoFar()).toBe(before + 1);
    await read();
    expect(await readsSoFar()).toBe(before + 1);
  });

  it("tells who is drained", async () => {
    await env.CONTROL.drainPool("us-1", true);
    await read();
    expect(knownPools.drained).toEqual(["us-1"]);
    await env.CONTROL.drainPool("us-1", false);
    forgetDirectory();
    await read();
    expect(knownPools.drained).toEqual([]);
  });

  it("goes on without it for ten minutes, while what pools said ages", async () => {
    await env.CONTROL.reportPool(summary(1));
    await read();
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(Date.now() + 9 * MINUTE_MS);
    expect((await read(away))?.version).toBe(1);
    expect(knownPools.summaryOf("us-1")).toMatchObject({ summary: { seq: 1 } });
    const [, ageS] = /summary_age_seconds\{pool="us-1"\} ([0-9.]+)/.exec(metrics.render()) ?? [];
    expect(Number(ageS)).toBeGreaterThanOrEqual(540);
    vi.setSystemTime(Date.now() + 2 * MINUTE_MS);
    expect(await read(away)).toBeUndefined();
  });

  it("keeps what it knows of a directory that was reset, and learns what is new", async () => {
    await env.CONTROL.reportPool(summary(1));
    await read();
    const { epoch } = knownPools.known(Date.now());
    const directory = env.DIRECTORY.getByName("directory");
    await runInDurableObject(directory, (_, ctx) => ctx.abort("reset")).catch(() => {});
    const readAgain = async () => {
      vi.useFakeTimers({ toFake: ["Date"] });
      vi.setSystemTime(Date.now() + 6_000);
      return read();
    };
    await until(async () => {
      await readAgain();
      return knownPools.known(Date.now()).epoch !== epoch;
    });
    expect(knownPools.summaryOf("us-1")).toMatchObject({ summary: { seq: 1 } });
    await env.CONTROL.reportPool(summary(2));
    await readAgain();
    expect(knownPools.summaryOf("us-1")).toMatchObject({ summary: { seq: 2 } });
  });

  it("learns nothing from an answer that came too late", async () => {
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    const readConfig = async (...args: Parameters<typeof env.CONTROL.readConfig>) => {
      const read = await env.CONTROL.readConfig(...args);
      asked.resolve();
      await answer.promise;
      return read;
    };
    const late = read({ ...env, CONTROL: { readConfig } } as unknown as Env);
    await asked.promise;
    // Meanwhile this isolate puts another configuration in force, and reads it.
    const before = configuration();
    const pools = before.pools.map((pool) =>
      pool.name === "us-1" ? { ...pool, name: "us-2" } : pool,
    );
    await applyConfiguration({ ...before, pools });
    await env.CONTROL.drainPool("us-2", true);
    forgetDirectory();
    expect((await read())?.version).toBe(2);
    answer.resolve();
    expect((await late)?.version).toBe(2);
    expect(knownPools.drained).toEqual(["us-2"]);
    knownPools.heard({ ...summary(1), pool: "us-2" }, Date.now());
    expect(knownPools.summaryOf("us-2")).toBeDefined();
  });

  it("understands a directory of the release before, which tells nothing of pools", async () => {
    const before = {
      ...env,
      CONTROL: { readConfig: (version: number) => env.CONTROL.readConfig(version) },
    } as unknown as Env;
    expect((await read(before))?.version).toBe(1);
  });
});

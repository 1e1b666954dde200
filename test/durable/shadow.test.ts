import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { EndpointPicker } from "../../src/scheduler/endpoint-picker.ts";
import {
  POOL,
  contentKeys,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestWorker,
} from "./pool-client.ts";

afterEach(() => reset());

/** A profile of one scorer. */
function onlyScorer(type: string) {
  return schedulerConfigSchema.parse({
    plugins: [{ type }, { type: "max-score-picker" }],
    schedulingProfiles: [
      { name: "default", plugins: [{ pluginRef: type }, { pluginRef: "max-score-picker" }] },
    ],
  });
}

const scheduler = onlyScorer("queue-scorer");

/** A pool of three endpoints with a shadow. */
async function shadowedPool(shadowScheduler: ReturnType<typeof onlyScorer>): Promise<void> {
  await poolWithEndpoints(3);
  const config = { name: POOL, scrapeIntervalMs: 200, scheduler, shadowScheduler };
  await poolStub().configure(config, 2);
}

const shadowState = async () => (await poolStub().state()).shadow;

async function pickMany(worker: TestWorker, count: number): Promise<string[]> {
  const chosen: string[] = [];
  for (let i = 0; i < count; i++) {
    const picked = await worker.pick(pickRequest(`r${i}`, { keys: contentKeys(500 + i) }));
    if (!picked.ok) throw new Error(picked.detail);
    chosen.push(picked.endpoints[0]!);
  }
  return chosen;
}

describe("a shadow configuration", () => {
  it("is not there unless it is configured", async () => {
    await poolWithEndpoints(1);
    expect(await poolStub().state()).not.toHaveProperty("shadow");
  });

  it("agrees with itself, and takes no decision", async () => {
    await shadowedPool(scheduler);
    using worker = new TestWorker();
    const chosen = await pickMany(worker, 6);
    expect(new Set(chosen).size).toBe(3);
    expect(await shadowState()).toMatchObject({
      isRunning: true,
      decisions: 6,
      same: 6,
      onlyShadowRefused: 0,
      compared: 6,
    });
    const inFlight = (await poolStub().state()).endpoints.map((e) => e.inFlightRequests);
    expect(inFlight).toEqual([2, 2, 2]);
  });

  it("is told where it would have chosen otherwise, and what it learned is of real choices", async () => {
    // Prefers who was least recently given a cold prompt; the real one looks at queues alone.
    await shadowedPool(onlyScorer("no-hit-lru-scorer"));
    using worker = new TestWorker();
    const real = await pickMany(worker, 9);
    const attempts = await Promise.all(
      real.map(async (_, i) => (await env.POOLS.explain(POOL, `r${i}`)).explanation!.attempts[0]!),
    );
    expect(attempts.map(({ chosen }) => chosen[0])).toEqual(real);
    // Whoever had the last cold prompt is its last choice, whomever it would have preferred then.
    const shadowed = attempts.map(({ shadow }) => shadow!.chosen);
    for (let i = 1; i < real.length; i++) expect(shadowed[i]).not.toBe(real[i - 1]);
    const metrics = await env.POOLS.metrics(POOL);
    expect(metrics).toMatch(/fairlead_shadow_decisions_total\{outcome="(same|different)"\}/);
    expect(metrics).toMatch(/fairlead_shadow_predicted_ttft_seconds_total\{config="shadow"\} \d/);
  });

  it("is switched off when it throws, and the pool goes on", async () => {
    await shadowedPool(onlyScorer("kv-cache-utilization-scorer"));
    using worker = new TestWorker();
    const { pick } = Object.getOwnPropertyDescriptors(EndpointPicker.prototype);
    onTestFinished(() => {
      Object.defineProperty(EndpointPicker.prototype, "pick", pick);
    });
    EndpointPicker.prototype.pick = function (input, recorder) {
      if (input.sentTo !== undefined) throw new Error("a plugin of the shadow is broken");
      return pick.value!.call(this, input, recorder);
    };
    expect(await pickMany(worker, 2)).toHaveLength(2);
    expect(await shadowState()).toMatchObject({
      isRunning: false,
      failure: "a plugin of the shadow is broken",
      decisions: 0,
    });
    expect(await env.POOLS.metrics(POOL)).toContain("fairlead_shadow_failures_total 1");
  });

  it("begins anew with another configuration, and goes with it", async () => {
    await shadowedPool(scheduler);
    using worker = new TestWorker();
    await pickMany(worker, 1);
    const shadowScheduler = onlyScorer("prefix-cache-scorer");
    const config = { name: POOL, scrapeIntervalMs: 200, scheduler };
    await poolStub().configure({ ...config, shadowScheduler }, 3);
    expect(await shadowState()).toMatchObject({ decisions: 0 });
    await poolStub().configure(config, 4);
    expect(await shadowState()).toBeUndefined();
  });
});

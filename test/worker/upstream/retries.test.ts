// Retries and what bounds them, against an address where nobody listens. In a file of its own: the
// budget it empties is the isolate's.

import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { TestAgent } from "../../durable/pool-client.ts";
import { ATTEMPTS_PER_POOL_MAX } from "../../../src/worker/upstream/try-pool.ts";
import { WORKER_RETRY_RESERVE } from "../../../src/worker/upstream/pool-view.ts";
import { METRIC } from "../../../src/telemetry/names.ts";
import {
  adminSend,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
  deploy,
} from "../support/deployment.ts";

let collector: TestAgent;
beforeAll(async () => {
  collector = await deploy();
});
afterAll(() => collector.close());

/** How many endpoints, or relays in their place, the answer says were tried. */
async function attempts(): Promise<number> {
  const response = await chat(chatBody());
  await response.body?.cancel();
  return Number(response.headers.get("x-fairlead-attempts"));
}

async function metric(name: string): Promise<number> {
  const text = await (await adminSend("/metrics", { method: "GET" })).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.split(" ")[1] ?? 0);
}

describe("retries", () => {
  it("are none where the first try answers", async () => {
    expect(await attempts()).toBe(1);
  });

  it("are bounded for a request, and told", async () => {
    await applyConfiguration(configuration([inject("deadUrl")]));
    expect(await attempts()).toBe(ATTEMPTS_PER_POOL_MAX);
  });

  it("stop for all requests when the pool's budget is spent", async () => {
    const perRequest = ATTEMPTS_PER_POOL_MAX - 1;
    const requests = Math.ceil(WORKER_RETRY_RESERVE / (perRequest - 0.1));
    await Promise.all(Array.from({ length: requests }, attempts));
    expect(await attempts()).toBe(1);
    expect(await metric(METRIC.workerRetriesDeniedTotal.name)).toBeGreaterThan(0);
    const retries = await metric(METRIC.workerRetriesTotal.name);
    expect(retries).toBeGreaterThanOrEqual(WORKER_RETRY_RESERVE);
    expect(retries).toBeLessThan(WORKER_RETRY_RESERVE + requests / 5);
  });
});

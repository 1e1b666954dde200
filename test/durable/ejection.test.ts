// What a relay's marks do to a pool's decisions.

import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import {
  endpoint,
  pickRequest,
  POOL,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  TestWorker,
  until,
} from "./pool-client.ts";

afterEach(() => reset());

const LEASE_MS = 20_000;

async function markedPool(
  ...marked: readonly number[]
): Promise<{ relay: TestAgent; collector: TestAgent }> {
  const collector = await poolWithEndpoints(3);
  const relay = await TestAgent.connect({ role: "relay", agent: "relay-0" });
  relay.hello();
  await relay.received("welcome");
  relay.marks(
    marked.map((n) => ({ endpoint: endpoint(n).address, leaseMs: LEASE_MS, why: "refused" })),
  );
  const { length } = marked;
  await until(async () => (await ejectedCount()) === length);
  return { relay, collector };
}

async function ejectedCount(): Promise<number> {
  const { endpoints } = await poolStub().state();
  return endpoints.filter((each) => (each.ejectedMs ?? 0) > 0).length;
}

async function pick(requestId: string): Promise<readonly string[]> {
  using worker = new TestWorker();
  const result = await worker.pick(pickRequest(requestId));
  return result.ok ? result.endpoints.toSorted() : [];
}

const addresses = (...numbers: readonly number[]) => numbers.map((n) => endpoint(n).address);

describe("an endpoint that a relay could not reach", () => {
  it("is left out of decisions, which say so, and counted", async () => {
    await markedPool(2);
    expect(await pick("r")).toEqual(addresses(1, 3));
    const { explanation } = await env.POOLS.explain(POOL, "r");
    const why = explanation!.attempts[0]!.candidates.find(({ id }) => id === endpoint(2).id)!.why;
    expect(why).toBe("removed by ejection-filter");
    expect(await poolStub().metrics()).toContain(`fairlead_ejected_endpoints{name="${POOL}"} 1`);
  });

  it("is back as soon as a relay has reached it", async () => {
    const { relay } = await markedPool(2);
    relay.marks([{ endpoint: endpoint(2).address, leaseMs: 0, why: "answered" }]);
    await until(async () => (await ejectedCount()) === 0);
    expect(await pick("r")).toEqual(addresses(1, 2, 3));
  });

  it("is back when the lease is over, though nobody says a word", async () => {
    const { relay } = await markedPool();
    relay.marks([{ endpoint: endpoint(2).address, leaseMs: 1_000, why: "unavailable" }]);
    await until(async () => (await ejectedCount()) === 1);
    await until(async () => (await ejectedCount()) === 0);
    expect(await pick("r")).toEqual(addresses(1, 2, 3));
  });

  it("is chosen when no other is left", async () => {
    await markedPool(1, 2, 3);
    expect(await pick("r")).toEqual(addresses(1, 2, 3));
  });

  it("goes behind one that no longer reports", async () => {
    const { collector } = await markedPool(1, 2);
    await until(async () => {
      collector.metrics([{ endpoint: 0 }, { endpoint: 1 }]);
      const { endpoints } = await poolStub().state();
      return endpoints.filter((each) => !each.isFresh).length === 1;
    }, 10_000);
    expect(await pick("r")).toEqual(addresses(3));
  });
});

// Where isolates would have sent what they ask about, and what a pool's object makes of it.

import { reset } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import type { PickRequest } from "../../../src/durable/contract.ts";
import {
  contentKeys,
  endpoint,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestWorker,
} from "../pool-client.ts";

afterEach(() => reset());

const ENDPOINTS = 4;

/** The address that a request is sent to. */
async function sentTo(requestId: string, more: Partial<PickRequest>, keys = contentKeys(1)) {
  using worker = new TestWorker();
  const asked = pickRequest(requestId, { keys, promptTokens: 64 * keys.length });
  const grant = await worker.pick({ ...asked, ...more });
  if (!grant.ok) throw new Error(JSON.stringify(grant));
  return { address: grant.endpoints[0], others: grant.endpoints.slice(1) };
}

describe("an isolate's proposal", () => {
  it.each([1, 2, 3, 4])(
    "is taken of the idle endpoint %i, with others to fall back on",
    async (n) => {
      await poolWithEndpoints(ENDPOINTS);
      const proposed = endpoint(n).address;
      const { address, others } = await sentTo("a", { proposed });
      expect(address).toBe(proposed);
      expect(others.length).toBeGreaterThan(0);
      const { explanation } = await poolStub().explain("a");
      const shown = JSON.stringify(explanation!.attempts[0]);
      expect(shown.match(/"spared: left to other isolates or objects/g)).toHaveLength(
        ENDPOINTS - 1,
      );
    },
  );

  it("is not where its endpoint is at another prompt", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const proposed = endpoint(1).address;
    using worker = new TestWorker();
    await worker.pick({
      ...pickRequest("a", { keys: contentKeys(1), promptTokens: 60_000 }),
      proposed,
    });
    expect((await sentTo("b", { proposed }, contentKeys(2))).address).not.toBe(proposed);
  });

  it("is not where the endpoint is none of the pool's", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const { address } = await sentTo("a", { proposed: "10.9.9.9:8000" });
    expect(Array.from({ length: ENDPOINTS }, (_, n) => endpoint(n + 1).address)).toContain(address);
  });
});

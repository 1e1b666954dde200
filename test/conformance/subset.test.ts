// llm-d's and the Gateway API's cases of endpoint subsets, over llm-d's default profile.
//
// Source: llm-d-router test/integration/epp (hermetic tests) and gateway-api-inference-extension
// conformance/tests: GatewayFollowingEPPRouting, GatewayFollowingEPPRoutingWithDataParallelism.

import { describe, expect, it } from "vitest";
import { inferenceRequest, NOW_MS } from "../scheduler/support/pick-context.ts";
import { TestPool } from "../scheduler/support/pool.ts";
import { profileConfig } from "../scheduler/support/profile-config.ts";

const LLM_D_DEFAULT = profileConfig({
  scorers: [
    { type: "queue-scorer", weight: 2 },
    { type: "kv-cache-utilization-scorer", weight: 2 },
    { type: "prefix-cache-scorer", weight: 3 },
  ],
});

interface Load {
  readonly address: string;
  readonly waiting?: number;
  readonly kvUsage?: number;
}

function poolOf(endpoints: readonly Load[]): TestPool {
  const pool = new TestPool(0, LLM_D_DEFAULT);
  endpoints.forEach(({ address, waiting = 0, kvUsage = 0 }, i) => {
    pool.table.add({ id: `default/e${i}`, address, engine: "vllm", labels: {} });
    pool.table.applySample(i, { waiting, running: 0, kvUsage }, NOW_MS);
  });
  return pool;
}

/** Addresses in the order to try them, or why there are none. */
function pickOf(pool: TestPool, subset?: readonly string[]): string[] | string {
  const request = inferenceRequest(subset === undefined ? {} : { subset });
  const picked = pool.pick("", { request });
  if (!picked.ok) return picked.reason;
  return Array.from(picked.slots, (slot) => pool.table.endpoint(slot)!.address);
}

describe("a subset of three endpoints", () => {
  const pool = poolOf([
    { address: "192.168.1.1:8000", waiting: 0, kvUsage: 0.2 },
    { address: "192.168.1.2:8000", waiting: 0, kvUsage: 0.1 },
    { address: "192.168.1.3:8000", waiting: 10, kvUsage: 0.2 },
  ]);

  it.for([
    { name: "none given", subset: undefined, first: "192.168.1.2:8000" },
    {
      name: "all",
      subset: ["192.168.1.1:8000", "192.168.1.2:8000", "192.168.1.3:8000"],
      first: "192.168.1.2:8000",
    },
    { name: "one, in spite of its load", subset: ["192.168.1.3:8000"], first: "192.168.1.3:8000" },
    {
      name: "one that is here and one that is not",
      subset: ["192.168.1.3:8000", "192.168.1.99:8000"],
      first: "192.168.1.3:8000",
    },
    { name: "hosts alone", subset: ["192.168.1.1", "192.168.1.3"], first: "192.168.1.1:8000" },
  ])("$name", ({ subset, first }) => {
    expect(pickOf(pool, subset)[0]).toBe(first);
  });

  it.for([
    { name: "an empty list", subset: [] },
    { name: "nobody here", subset: ["192.168.1.99:8000"] },
    { name: "another port of somebody here", subset: ["192.168.1.1:9999"] },
    { name: "nothing that can be read", subset: ["", "??"] },
  ])("$name: no endpoints, and never the whole pool", ({ subset }) => {
    expect(pickOf(pool, subset)).toBe("rejected-no-endpoints");
  });
});

describe("a hundred requests", () => {
  const hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
  const pool = poolOf(hosts.map((host) => ({ address: `${host}:3000` })));

  it.for([1, 2, 3])("pinned to %i endpoints reach no other", (count) => {
    const subset = hosts.slice(0, count);
    for (let i = 0; i < 100; i++) {
      const addresses = pickOf(pool, subset) as string[];
      expect(addresses.length).toBeGreaterThan(0);
      for (const address of addresses) expect(subset).toContain(address.split(":")[0]);
    }
  });
});

describe("data-parallel ranks of a host", () => {
  const ranks = [3000, 3002, 3004].map((port) => `10.0.0.1:${port}`);
  const pool = poolOf([...ranks, "10.0.0.2:3000"].map((address) => ({ address })));

  it("are all meant by the host", () => {
    const firsts = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const addresses = pickOf(pool, ["10.0.0.1"]) as string[];
      expect(ranks).toEqual(expect.arrayContaining(addresses));
      firsts.add(addresses[0]!);
    }
    expect([...firsts].toSorted()).toEqual(ranks);
  });

  it.for(ranks)("are meant alone by host and port: %s", (rank) => {
    for (let i = 0; i < 20; i++) expect(pickOf(pool, [rank])).toEqual([rank]);
  });
});

import { reset, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import { CLAIMS_MAX } from "../../src/durable/membership.ts";
import {
  AGENT_ROWS_MAX,
  SETTLED_ROWS_MAX,
  PoolStorage,
  USAGE_ROWS_MAX,
  type UsageTotals,
} from "../../src/durable/pool-storage.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { endpoint, poolStub } from "./pool-client.ts";

afterEach(() => reset());

/** Runs `check` on the storage of a real object. */
function withStorage<T>(check: (stored: PoolStorage) => T): Promise<T> {
  return runInDurableObject(poolStub(), (_, { storage }) => check(new PoolStorage(storage)));
}

function totals(tenant: string): UsageTotals {
  return {
    tenant,
    model: "m",
    requests: 1,
    estimatedRequests: 0,
    promptTokens: 10,
    cachedTokens: 5,
    completionTokens: 3,
  };
}

const NOTHING = { usage: [], agents: [], tickets: [] };

describe("the configuration", () => {
  const scheduler = schedulerConfigSchema.parse({});
  const config = { name: "eu-1", scrapeIntervalMs: 200, scheduler };

  it("comes back with its shadow", async () => {
    const shadowed = { ...config, shadowScheduler: scheduler };
    const stored = await withStorage((storage) => {
      storage.setConfig(3, shadowed);
      return storage.config();
    });
    expect(stored).toEqual({ version: 3, config: shadowed });
  });

  it("comes back without a shadow that this code cannot read", async () => {
    const plugins = [{ name: "x", type: "of-another-release", parameters: {} }];
    const stored = await withStorage((storage) => {
      storage.setConfig(3, { ...config, shadowScheduler: { ...scheduler, plugins } });
      return storage.config();
    });
    expect(stored).toEqual({ version: 3, config });
  });
});

describe("usage rows", () => {
  it("past their maximum are counted together", async () => {
    const rows = await withStorage((stored) => {
      const many = Array.from({ length: USAGE_ROWS_MAX + 3 }, (_, i) => totals(`t${i}`));
      stored.settle({ ...NOTHING, usage: many }, 0);
      stored.settle({ ...NOTHING, usage: [totals("t0")] }, 0);
      return stored.usage();
    });
    expect(rows).toHaveLength(USAGE_ROWS_MAX + 1);
    expect(rows.find((row) => row.tenant === "t0")).toMatchObject({ requests: 2 });
    expect(rows.find((row) => row.tenant === "other")).toMatchObject({
      model: "other",
      requests: 3,
      promptTokens: 30,
    });
  });
});

describe("agents", () => {
  it("are remembered by epoch, the longest silent forgotten first", async () => {
    const acked = await withStorage((stored) => {
      for (let i = 0; i <= AGENT_ROWS_MAX; i++) {
        const agents = [{ agent: `a${i}`, epoch: "e", seq: i + 1, report: 10 * i }];
        stored.settle({ ...NOTHING, agents }, i);
      }
      return [
        stored.acked({ agent: "a0", epoch: "e" }),
        stored.acked({ agent: "a1", epoch: "e" }),
        stored.acked({ agent: "a1", epoch: "f" }),
      ];
    });
    expect(acked).toEqual([
      { seq: 0, report: 0 },
      { seq: 2, report: 10 },
      { seq: 0, report: 0 },
    ]);
  });
});

describe("settled tickets", () => {
  it("are remembered up to their maximum, the oldest forgotten first", async () => {
    const settled = await withStorage((stored) => {
      const tickets = Array.from({ length: SETTLED_ROWS_MAX }, (_, i) => `t${i}`);
      const none = stored.isSettled("t0");
      stored.settle({ ...NOTHING, tickets }, 0);
      const before = [
        none,
        stored.isSettled("t0"),
        stored.isSettled("t1"),
        stored.isSettled("new"),
      ];
      // Said twice, a ticket has one place.
      stored.settle({ ...NOTHING, tickets: ["t5", "new"] }, 0);
      return [before, stored.isSettled("t0"), stored.isSettled("t1"), stored.isSettled("new")];
    });
    expect(settled).toEqual([[false, true, true, false], false, true, true]);
  });
});

describe("claims", () => {
  it("come back in the order in which they were made", async () => {
    const claims = await withStorage((stored) => {
      stored.setClaim("a", [endpoint(1)]);
      stored.setClaim("b", [endpoint(2)]);
      stored.setClaim("a", [endpoint(3)]);
      stored.deleteClaim("c");
      return stored.claims();
    });
    expect(claims).toEqual([
      { agent: "b", endpoints: [endpoint(2)] },
      { agent: "a", endpoints: [endpoint(3)] },
    ]);
  });

  it("of more collectors than a pool may have are left out, the oldest first", async () => {
    const claims = await withStorage((stored) => {
      for (let i = 0; i <= CLAIMS_MAX; i++) stored.setClaim(`a${i}`, [endpoint(i)]);
      return stored.claims().map(({ agent }) => agent);
    });
    expect(claims).toHaveLength(CLAIMS_MAX);
    expect(claims).not.toContain("a0");
  });
});

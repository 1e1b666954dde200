import { describe, expect, it } from "vitest";
import { POOLS_MAX } from "../../../src/scheduler/pools/bounds.ts";
import { PoolTable } from "../../../src/scheduler/pools/pool-table.ts";
import { AT_REST, description, Isolate, POLICY } from "./support/isolate.ts";

const NOW_MS = 1_000_000;

function stateOf(isolate: Isolate, pool: string, nowMs: number): string {
  const { candidates } = isolate.choose(nowMs);
  return candidates.find((candidate) => candidate.pool === pool)!.state;
}

function waitOf(isolate: Isolate, pool: string, nowMs = NOW_MS): number {
  const { candidates } = isolate.choose(nowMs);
  return candidates.find((candidate) => candidate.pool === pool)!.terms["waitMs"]!;
}

describe("configurations", () => {
  it("keep what is known of pools that stay, and forget those that leave", () => {
    const isolate = new Isolate([description("a"), description("b")]);
    isolate.allHear(NOW_MS, { load: { waitMs: 70 } });
    const removed = isolate.table.set([description("c"), description("a", { rttMs: 5 })]);
    expect(removed).toHaveLength(1);
    expect(isolate.table.slotOf("b")).toBeUndefined();
    expect(isolate.table.summaryOf("b")).toBeUndefined();
    // The slot is another pool's now, and nothing of the one before is left.
    expect(isolate.table.slotOf("c")).toBe(removed[0]);
    expect(isolate.table.summaryOf("c")).toBeUndefined();
    expect(isolate.table.facts.hasSpeed[removed[0]!]).toBe(0);
    const { candidates } = isolate.choose(NOW_MS, {}, ["a", "c"]);
    expect(candidates[0]).toMatchObject({ pool: "a", terms: { rttMs: 10, waitMs: 70 } });
    expect(candidates[1]).toMatchObject({ pool: "c", state: "silent", terms: {} });
    expect(candidates[1]!.terms["waitMs"]).not.toBe(70);
  });

  it("have POOLS_MAX pools at most", () => {
    const table = new PoolTable(POLICY);
    const names = Array.from({ length: POOLS_MAX + 1 }, (_, i) => `pool-${i}`);
    table.set(names.map((name) => description(name)));
    expect(table.slotOf(`pool-${POOLS_MAX - 1}`)).toBeDefined();
    expect(table.slotOf(`pool-${POOLS_MAX}`)).toBeUndefined();
    table.set(names.slice(1).map((name) => description(name)));
    expect(table.slotOf(`pool-${POOLS_MAX}`)).toBeDefined();
  });

  it("do not hear of pools that they do not have", () => {
    const isolate = new Isolate([description("a")]);
    isolate.hears("b", NOW_MS);
    isolate.table.heardDigest("b", { matchedBlocks: () => 1 });
    isolate.table.dispatched("b", 1_000, NOW_MS);
    expect(isolate.table.summaryOf("b")).toBeUndefined();
  });
});

describe("summaries", () => {
  it("are ignored when a newer one of the same incarnation was heard", () => {
    const isolate = new Isolate([description("a")]);
    isolate.hears("a", NOW_MS, { seq: 5, load: { waitMs: 5 } });
    isolate.hears("a", NOW_MS, { seq: 4, load: { waitMs: 4 } });
    isolate.hears("a", NOW_MS, { seq: 5, load: { waitMs: 6 } });
    expect(waitOf(isolate, "a")).toBe(5);
    isolate.hears("a", NOW_MS, { seq: 6, load: { waitMs: 6 } });
    expect(waitOf(isolate, "a")).toBe(6);
  });

  it("of an object that has learned no speed yet leave what was known of it", () => {
    const isolate = new Isolate([description("a")]);
    isolate.hears("a", NOW_MS, { speed: { prefillMsPerToken: 0.9, serviceMs: 7_000 } });
    const speed = { endedPerSecond: 3 };
    const summary = { pool: "a", incarnation: "i2", seq: 1, configVersion: 1, speed };
    isolate.table.heard({ summary, sentAtMs: NOW_MS });
    const { facts, columns } = isolate.table;
    for (const known of [facts, columns])
      expect([known.prefillMsPerToken[0], known.serviceMs[0]]).toEqual([0.9, 7_000]);
    expect(facts.endedPerSecond[0]).toBe(3);
  });

  it("of a new incarnation void what the one before said, and keep the engines' speed", () => {
    const isolate = new Isolate([description("a"), description("b")]);
    isolate.allHear(NOW_MS, { load: { waitMs: 70 }, speed: { prefillMsPerToken: 0.3 } });
    const without = ["load", "speed"] as const;
    isolate.hears("a", NOW_MS, { incarnation: "i2", seq: 1, without });
    expect(stateOf(isolate, "a", NOW_MS)).toBe("silent");
    const { candidates } = isolate.choose(NOW_MS, {}, ["a"]);
    expect(candidates[0]!.terms).toMatchObject({ waitMs: 900, prefillMs: 300 });
    // And nothing the one before sends late counts.
    isolate.hears("a", NOW_MS, { incarnation: "i1", seq: 999 });
    expect(stateOf(isolate, "a", NOW_MS)).toBe("silent");
  });

  it("that say nothing of the load leave it to age", () => {
    const isolate = new Isolate([description("a"), description("b")]);
    isolate.allHear(NOW_MS);
    for (const nowMs of [NOW_MS + 2_000, NOW_MS + 4_000]) {
      isolate.hears("a", nowMs, { without: ["load"] });
      isolate.hears("b", nowMs);
    }
    expect(stateOf(isolate, "a", NOW_MS + 3_000)).toBe("fresh");
    expect(stateOf(isolate, "a", NOW_MS + 3_001)).toBe("stale");
    expect(stateOf(isolate, "b", NOW_MS + 3_001)).toBe("fresh");
  });

  it("are as old as they were when all pools were read of, for an isolate that reads seldom", () => {
    const isolate = new Isolate([description("near"), description("far", { rttMs: 500 })]);
    isolate.allHear(NOW_MS - 500);
    isolate.table.read(NOW_MS);
    // The answer of the only request since brings word of its pool along.
    isolate.hears("far", NOW_MS + 3_900);
    const { order, candidates } = isolate.choose(NOW_MS + 4_000);
    expect(order).toEqual(["near", "far"]);
    expect(candidates.map(({ state, terms }) => [state, terms["waitMs"]])).toEqual([
      ["fresh", 0],
      ["fresh", 0],
    ]);
    // It had not told anything for so long by then.
    isolate.hears("far", NOW_MS + 4_500);
    isolate.table.read(NOW_MS + 4_500);
    expect(stateOf(isolate, "near", NOW_MS + 4_600)).toBe("stale");
  });

  it("age by themselves while the directory is away", () => {
    const isolate = new Isolate([description("a")]);
    isolate.allHear(NOW_MS);
    isolate.table.read(NOW_MS);
    expect(stateOf(isolate, "a", NOW_MS + 5_000)).toBe("fresh");
    expect(stateOf(isolate, "a", NOW_MS + 5_001)).toBe("stale");
  });

  it("that are old do not tell that a pool is empty", () => {
    const isolate = new Isolate([description("a"), description("b")]);
    isolate.hears("a", NOW_MS, { membership: { usable: 0 } });
    isolate.hears("b", NOW_MS);
    expect(stateOf(isolate, "a", NOW_MS)).toBe("empty");
    expect(stateOf(isolate, "a", NOW_MS + 3_001)).toBe("stale");
    expect(stateOf(isolate, "a", NOW_MS + 30_001)).toBe("silent");
  });

  it("count a pool that tells no speed as the slowest that does", () => {
    const isolate = new Isolate([description("a"), description("b"), description("c")]);
    isolate.hears("a", NOW_MS, { speed: { prefillMsPerToken: 0.05 } });
    isolate.hears("b", NOW_MS, { speed: { prefillMsPerToken: 0.7 } });
    isolate.hears("c", NOW_MS, { without: ["speed"] });
    const { candidates } = isolate.choose(NOW_MS);
    const prefill = Object.fromEntries(candidates.map((c) => [c.pool, c.terms["prefillMs"]]));
    expect(prefill).toEqual({ a: 50, b: 700, c: 700 });
  });

  it("have a pool full until it is clearly not any more", () => {
    const isolate = new Isolate([description("a"), description("b")]);
    isolate.allHear(NOW_MS);
    const states = [0.99, 1, 0.97, 0.95, 0.94, 0.99].map((saturation) => {
      isolate.hears("a", NOW_MS, { load: { saturation } });
      return stateOf(isolate, "a", NOW_MS);
    });
    expect(states).toEqual(["fresh", "full", "full", "full", "fresh", "fresh"]);
  });

  it("of engines that are gone void the digest of their caches", () => {
    const isolate = new Isolate([description("a")]);
    isolate.allHear(NOW_MS);
    isolate.table.heardDigest("a", { matchedBlocks: () => 2 });
    const keys = new Uint32Array(8);
    const uncached = () => isolate.choose(NOW_MS, { keys }).candidates[0]!.uncachedTokens;
    expect(uncached()).toBe(1_000 - 128);
    isolate.hears("a", NOW_MS, { membership: { endpoints: 0, usable: 0 } });
    expect(uncached()).toBe(1_000);
  });

  it("that list more than they have room for are not taken for all", () => {
    const isolate = new Isolate([description("a"), description("b", { rttMs: 400 })]);
    isolate.allHear(NOW_MS);
    const models = Array.from({ length: 256 }, (_, i) => `model-${i}`);
    isolate.hears("a", NOW_MS, { membership: { models } });
    expect(isolate.choose(NOW_MS, { model: "model-x" }).order[0]).toBe("a");
    isolate.hears("a", NOW_MS, { membership: { models: models.slice(1) } });
    expect(isolate.choose(NOW_MS, { model: "model-x" }).order[0]).toBe("b");
  });

  it("count on top of what hub mode's scorers read", () => {
    const isolate = new Isolate([description("a")]);
    const { load } = AT_REST;
    isolate.hears("a", NOW_MS, { load: { ...load, queueDepth: 2.5, kvUsage: 0.4 } });
    const slot = isolate.table.slotOf("a")!;
    const scalar = (key: string) => isolate.table.columns.scalar(`llm-d.ai/multicluster-${key}`);
    expect(scalar("queue-size")![slot]).toBe(2.5);
    expect(scalar("kv-cache-utilization")![slot]).toBe(0.4);
    isolate.table.dispatched("a", 100, NOW_MS);
    expect(scalar("queue-size")![slot]).toBe(2.625);
  });
});

describe("slow start", () => {
  const share = (isolate: Isolate, nowMs: number) => isolate.shares(nowMs, 400)["near"]!;
  const pools = [description("near", { rttMs: 5 }), description("far", { rttMs: 200 })];
  const hearAll = (isolate: Isolate, nowMs: number, nearUsable: number) => {
    isolate.hears("far", nowMs);
    isolate.hears("near", nowMs, { membership: { usable: nearUsable, endpoints: 8 } });
  };

  it("is not for pools that were there from the beginning", () => {
    const isolate = new Isolate(pools);
    isolate.allHear(NOW_MS);
    expect(share(isolate, NOW_MS)).toBe(1);
  });

  it("gives a pool that comes back a part at once, and all within slowStartMs", () => {
    const isolate = new Isolate(pools);
    isolate.allHear(NOW_MS);
    share(isolate, NOW_MS);
    hearAll(isolate, NOW_MS + 100, 0);
    expect(share(isolate, NOW_MS + 100)).toBe(0);
    hearAll(isolate, NOW_MS + 200, 8);
    const shares = [0, 2_500, 5_000].map((sinceMs) => {
      hearAll(isolate, NOW_MS + 200 + sinceMs, 8);
      return share(isolate, NOW_MS + 200 + sinceMs);
    });
    expect(shares[0]).toBeGreaterThan(0.05);
    expect(shares[0]).toBeLessThan(0.2);
    expect(shares[1]).toBeGreaterThan(0.4);
    expect(shares[1]).toBeLessThan(0.7);
    expect(shares[2]).toBe(1);
  });

  it("is for a pool of a lower failover tier, too", () => {
    const isolate = new Isolate([pools[0]!, description("far", { failoverTier: 1 })]);
    isolate.allHear(NOW_MS);
    expect(share(isolate, NOW_MS)).toBe(1);
    hearAll(isolate, NOW_MS + 100, 0);
    expect(share(isolate, NOW_MS + 100)).toBe(0);
    hearAll(isolate, NOW_MS + 20_000, 8);
    expect(share(isolate, NOW_MS + 20_000)).toBeLessThan(0.2);
    hearAll(isolate, NOW_MS + 25_000, 8);
    expect(share(isolate, NOW_MS + 25_000)).toBe(1);
  });

  it("is not for one that was in use although it said nothing: nobody of its tier did", () => {
    const isolate = new Isolate([pools[0]!, description("far", { failoverTier: 1 })]);
    isolate.allHear(NOW_MS);
    isolate.hears("far", NOW_MS + 20_000);
    expect(share(isolate, NOW_MS + 20_000)).toBe(1);
    isolate.hears("near", NOW_MS + 20_100);
    expect(share(isolate, NOW_MS + 20_100)).toBe(1);
  });

  it("is for pools that are added later, and for those that are not drained any more", () => {
    const isolate = new Isolate(pools.slice(1));
    isolate.allHear(NOW_MS);
    share(isolate, NOW_MS);
    isolate.table.set(pools);
    hearAll(isolate, NOW_MS, 8);
    const first = () => isolate.choose(NOW_MS, {}, ["near", "far"]);
    first();
    expect(stateOf(new Isolate(pools), "near", NOW_MS)).toBe("silent");
    expect(first().candidates.find(({ pool }) => pool === "near")!.state).toBe("starting");

    const drained = new Isolate(pools);
    drained.allHear(NOW_MS);
    drained.choose(NOW_MS);
    drained.table.setDrained(["near"]);
    // Not even asked about: the Worker leaves it out.
    drained.choose(NOW_MS, {}, ["far"]);
    drained.table.setDrained([]);
    expect(stateOf(drained, "near", NOW_MS)).toBe("starting");
  });

  it("holds a warming pool to its share where all others are full", () => {
    const isolate = new Isolate(pools);
    isolate.allHear(NOW_MS);
    share(isolate, NOW_MS);
    isolate.hears("near", NOW_MS, { membership: { usable: 0 } });
    share(isolate, NOW_MS);
    isolate.hears("near", NOW_MS);
    isolate.hears("far", NOW_MS, { load: { saturation: 5, waitMs: 20_000 } });
    expect(share(isolate, NOW_MS)).toBeLessThan(0.2);
  });

  it("is not begun by this isolate's own deafness", () => {
    const isolate = new Isolate(pools);
    isolate.allHear(NOW_MS);
    share(isolate, NOW_MS);
    // The directory is away, and then back.
    expect(share(isolate, NOW_MS + 60_000)).toBeGreaterThan(0.9);
    isolate.allHear(NOW_MS + 61_000);
    expect(share(isolate, NOW_MS + 61_000)).toBe(1);
  });
});

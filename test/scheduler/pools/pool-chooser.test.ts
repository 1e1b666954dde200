import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { description, Isolate, type Told } from "./support/isolate.ts";

const NOW_MS = 1_000_000;
const FATAL = { permit: "pass", outcome: "failure", isFatal: true } as const;
const rng = createRng(1);

/** Pools 100 ms apart, so that the order is as good as certain. */
function isolateOf(...names: string[]): Isolate {
  const isolate = new Isolate(names.map((name, i) => description(name, { rttMs: 10 + 100 * i })));
  isolate.allHear(NOW_MS);
  return isolate;
}

function tiersOf(isolate: Isolate, nowMs = NOW_MS) {
  const { candidates } = isolate.choose(nowMs);
  return candidates.map(({ pool, tier, state }) => `${tier} ${pool} ${state}`);
}

describe("the order", () => {
  it("puts the nearest of pools that are at rest first, and says by what", () => {
    const isolate = isolateOf("near", "far", "farthest");
    const { order, candidates } = isolate.choose(NOW_MS);
    expect(order).toEqual(["near", "far", "farthest"]);
    expect(candidates[0]).toMatchObject({
      pool: "near",
      tier: 0,
      state: "fresh",
      costMs: 120,
      terms: { rttMs: 20, waitMs: 0, prefillMs: 100, memoryMs: 0, priceMs: 0, affinityMs: 0 },
      uncachedTokens: 1_000,
    });
  });

  it("believes what was measured before what was configured", () => {
    const isolate = isolateOf("near", "far");
    isolate.rtts.set("near", 500);
    expect(isolate.choose(NOW_MS).order).toEqual(["far", "near"]);
  });

  it("leaves drained pools out, also where nobody else is left", () => {
    const isolate = isolateOf("near", "far");
    isolate.table.setDrained(["near"]);
    expect(isolate.choose(NOW_MS).order).toEqual(["far"]);
    expect(tiersOf(isolate)).toEqual(["0 far fresh", "1 near drained"]);
    isolate.table.setDrained(["near", "far"]);
    expect(isolate.choose(NOW_MS).order).toEqual([]);
  });

  it.for<[string, Told, string]>([
    ["stale", { load: { ageMs: 3_001 } }, "stale"],
    ["stale by its members", { membership: { ageMs: 3_001 } }, "stale"],
    ["silent for long", { load: { ageMs: 30_001 } }, "silent"],
    ["silent on its load", { without: ["load"] }, "silent"],
    ["silent on its members", { without: ["membership"] }, "silent"],
    ["full", { load: { saturation: 1 } }, "full"],
    ["without endpoints", { membership: { usable: 0 } }, "empty"],
    ["without the model", { membership: { models: ["model-b"] } }, "fresh"],
  ])("tries a pool that is %s after one that costs more", ([, told, state]) => {
    const isolate = isolateOf("near", "far");
    isolate.hears("near", NOW_MS, { incarnation: "i2", ...told });
    expect(isolate.choose(NOW_MS).order).toEqual(["far", "near"]);
    expect(tiersOf(isolate)).toEqual(["0 far fresh", `1 near ${state}`]);
    expect(isolate.choose(NOW_MS, {}, ["near"]).order).toEqual(["near"]);
  });

  it("finds a model among the adapters of a pool", () => {
    const isolate = isolateOf("near", "far");
    isolate.hears("near", NOW_MS, { membership: { models: ["base"], adapters: ["model-a"] } });
    isolate.hears("far", NOW_MS, { membership: { models: ["base"], adapters: [] } });
    expect(tiersOf(isolate)).toEqual(["0 near fresh", "1 far fresh"]);
  });

  it("goes to a higher failover tier where no usable pool of a lower one is left", () => {
    const isolate = new Isolate([
      description("first", { rttMs: 300 }),
      description("spare", { rttMs: 5, failoverTier: 1 }),
    ]);
    isolate.allHear(NOW_MS);
    isolate.hears("first", NOW_MS, { load: { saturation: 2, ageMs: 5_000 } });
    expect(isolate.choose(NOW_MS).order).toEqual(["first", "spare"]);
    isolate.breakers.record("first", FATAL, NOW_MS, rng);
    expect(isolate.choose(NOW_MS).order).toEqual(["spare", "first"]);
  });

  it("goes from tier to tier where the same pools fail for different reasons", () => {
    const isolate = isolateOf("a", "b", "c", "d", "e");
    isolate.breakers.record("a", FATAL, NOW_MS, rng);
    isolate.hears("b", NOW_MS, { load: { ageMs: 10_000 } });
    isolate.hears("c", NOW_MS, { load: { saturation: 1 } });
    isolate.table.setDrained(["d"]);
    expect(tiersOf(isolate)).toEqual([
      "0 e fresh",
      "1 c full",
      "2 b stale",
      "3 a open",
      "4 d drained",
    ]);
  });

  it("probes a pool as soon as it says that it has endpoints again", () => {
    const isolate = new Isolate([description("a"), description("b", { rttMs: 400 })]);
    isolate.allHear(NOW_MS);
    isolate.breakers.record(
      "a",
      { permit: "pass", outcome: "failure", isFatal: true },
      NOW_MS,
      () => 0,
    );
    isolate.hears("a", NOW_MS + 100, { membership: { usable: 0 } });
    expect(isolate.choose(NOW_MS + 100).order[0]).toBe("b");
    isolate.hears("a", NOW_MS + 200, { membership: { usable: 1 } });
    expect(isolate.choose(NOW_MS + 200).candidates[0]).toMatchObject({
      pool: "a",
      state: "half-open",
    });
    // Once: a probe that fails opens it again, whatever is told all along.
    const permit = isolate.breakers.acquire("a", NOW_MS + 200);
    isolate.breakers.record("a", { permit, outcome: "failure" }, NOW_MS + 300, () => 0);
    isolate.hears("a", NOW_MS + 400, { membership: { usable: 8 } });
    expect(isolate.choose(NOW_MS + 400).order[0]).toBe("b");
  });

  it("sends a half-open pool its probe, and goes on with the others", () => {
    const isolate = isolateOf("near", "far");
    isolate.breakers.record("far", FATAL, NOW_MS, rng);
    expect(isolate.choose(NOW_MS).order).toEqual(["near", "far"]);
    const laterMs = NOW_MS + 1_001;
    expect(isolate.choose(laterMs).order).toEqual(["far", "near"]);
    expect(isolate.breakers.acquire("far", laterMs)).toBe("probe");
    expect(isolate.choose(laterMs).order).toEqual(["near", "far"]);
  });

  it("puts pools that the table does not know last", () => {
    const isolate = isolateOf("near");
    const { order, candidates } = isolate.choose(NOW_MS, {}, ["unheard-of", "near"]);
    expect(order).toEqual(["near", "unheard-of"]);
    expect(candidates.at(-1)).toMatchObject({ pool: "unheard-of", state: "unknown" });
  });

  it("holds eight pools of more, and tells of eight", () => {
    const names = Array.from({ length: 20 }, (_, i) => `pool-${i}`);
    const { order, candidates } = isolateOf(...names).choose(NOW_MS);
    expect(order).toEqual(names.slice(0, 8));
    expect(candidates).toHaveLength(8);
  });
});

const told = fc.record(
  {
    load: fc.record({
      ageMs: fc.constantFrom(0, 3_001, 40_000),
      saturation: fc.constantFrom(0, 0.5, 1, 3),
      waitMs: fc.nat(5_000),
      kvUsage: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    membership: fc.record({
      ageMs: fc.constantFrom(0, 3_001),
      usable: fc.nat(9),
      models: fc.constantFrom([], ["model-a"], ["model-b"]),
    }),
    speed: fc.record({
      prefillMsPerToken: fc.constantFrom(0.01, 0.1, 1),
      endedPerSecond: fc.nat(100),
    }),
    without: fc.subarray(["membership", "load", "speed"] as const),
  },
  { requiredKeys: ["load", "membership", "without"] },
);

const somePools = fc.array(
  fc.record({
    told,
    failoverTier: fc.nat(1),
    rttMs: fc.nat(300),
    isDrained: fc.constantFrom(false, false, false, true),
    failures: fc.constantFrom(0, 0, 0, 1),
  }),
  { minLength: 1, maxLength: 8 },
);

describe("whatever is known of pools", () => {
  it("the order has each pool that may be tried once, and no drained one", () => {
    fc.assert(
      fc.property(somePools, fc.nat(), fc.nat(10_000), (pools, allowedMask, laterMs) => {
        const names = pools.map((_, i) => `pool-${i}`);
        const isolate = new Isolate(
          pools.map(({ failoverTier, rttMs, isDrained }, i) =>
            description(names[i]!, { failoverTier, rttMs, isDrained }),
          ),
        );
        pools.forEach((pool, i) => {
          isolate.hears(names[i]!, NOW_MS, pool.told);
          if (pool.failures > 0) isolate.breakers.record(names[i]!, FATAL, NOW_MS, rng);
        });
        const allowed = names.filter((_, i) => ((allowedMask >> i) & 1) === 0);
        const { order, candidates } = isolate.choose(NOW_MS + laterMs, {}, allowed);
        const usable = allowed.filter((name) => !pools[names.indexOf(name)]!.isDrained);
        expect([...order].sort()).toEqual([...usable].sort());
        expect(candidates.map(({ pool }) => pool).slice(0, order.length)).toEqual(order);
        expect(candidates).toHaveLength(allowed.length);
        const tiers = candidates.map(({ tier }) => tier);
        expect(tiers).toEqual(tiers.toSorted((a, b) => a - b));
      }),
    );
  });

  it("a pool is never better for a signal that is missing or old", () => {
    const lack = fc.constantFrom<Told>(
      { without: ["load"] },
      { without: ["membership"] },
      { without: ["load", "membership", "speed"] },
      { load: { ageMs: 3_001 } },
      { load: { ageMs: 2_000 } },
      { membership: { ageMs: 3_001 } },
    );
    fc.assert(
      fc.property(told, fc.nat(300), lack, fc.nat(1_000), (of, rttMs, lacking, seed) => {
        const orderOf = (extra: Told) => {
          const pools = [description("it", { rttMs }), description("other", { rttMs: 100 })];
          const isolate = new Isolate(pools, {}, { seed });
          isolate.allHear(NOW_MS);
          const load = { ...of.load, ageMs: 0, ...extra.load };
          const membership = { ...of.membership, ageMs: 0, ...extra.membership };
          const { without = [] } = extra;
          isolate.hears("it", NOW_MS, { ...of, load, membership, without, incarnation: "i2" });
          return isolate.choose(NOW_MS).order.indexOf("it");
        };
        expect(orderOf(lacking)).toBeGreaterThanOrEqual(orderOf({}));
      }),
      { numRuns: 300 },
    );
  });

  it("the same seed and knowledge give the same order", () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const orderOf = () => {
          const pools = ["a", "b", "c"].map((name) => description(name));
          const isolate = new Isolate(pools, {}, { seed });
          isolate.allHear(NOW_MS);
          return isolate.choose(NOW_MS).order;
        };
        expect(orderOf()).toEqual(orderOf());
      }),
    );
  });
});

describe("spread", () => {
  it("sends pools that cost alike what they can take", () => {
    const isolate = new Isolate([description("small"), description("large")]);
    isolate.hears("small", NOW_MS, { membership: { endpoints: 2, usable: 2 } });
    isolate.hears("large", NOW_MS, { membership: { endpoints: 8, usable: 8 } });
    const { small, large } = isolate.shares(NOW_MS, 4_000);
    expect(large! / small!).toBeGreaterThan(3);
    expect(large! / small!).toBeLessThan(5.3);
  });

  it("hardly uses a pool that costs twice as much", () => {
    const isolate = new Isolate([description("a"), description("b", { rttMs: 140 })]);
    isolate.allHear(NOW_MS);
    expect(isolate.shares(NOW_MS, 2_000)["b"]).toBeLessThan(0.005);
  });

  it("draws a few pools anew for each request where a sample is asked for", () => {
    const names = Array.from({ length: 10 }, (_, i) => `pool-${i}`);
    const pools = names.map((name, i) => description(name, { rttMs: 10 + 100 * i }));
    const isolate = new Isolate(pools, { sampleSize: 2 });
    isolate.allHear(NOW_MS);
    const { order, candidates } = isolate.choose(NOW_MS);
    expect(candidates.filter(({ tier }) => tier === 0)).toHaveLength(2);
    expect(order).toHaveLength(8);
    const shares = isolate.shares(NOW_MS, 2_000);
    // The best of all comes first where it is drawn, the worst never.
    expect(shares["pool-0"]).toBeGreaterThan(0.15);
    expect(shares["pool-0"]).toBeLessThan(0.25);
    expect(shares["pool-9"]).toBeLessThan(0.01);
  });
});

describe("affinity", () => {
  const session = (low: number) => ({ source: "header", low, high: low * 7 }) as const;

  it("draws each session to one pool, alike in every isolate, in proportion to capacity", () => {
    const isolates = ["a,b,c", "c,b,a"].map((names) => {
      const isolate = new Isolate(names.split(",").map((name) => description(name)));
      isolate.allHear(NOW_MS);
      isolate.hears("c", NOW_MS, { membership: { usable: 16, endpoints: 16 } });
      return isolate;
    });
    const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
    for (let id = 1; id <= 400; id++) {
      const drawn = isolates.map((isolate) => {
        const { candidates } = isolate.choose(NOW_MS, { session: session(id) });
        return candidates.find(({ terms }) => terms["affinityMs"] === 0)!.pool;
      });
      expect(drawn[0]).toBe(drawn[1]);
      counts[drawn[0]!]! += 1 / 400;
    }
    expect(counts["c"]).toBeGreaterThan(0.43);
    expect(counts["c"]).toBeLessThan(0.57);
  });

  it("is worth affinityMs and no more", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(500), fc.nat(500), fc.nat(200), (id, a, b, affinityMs) => {
        const pools = [description("a", { rttMs: a }), description("b", { rttMs: b })];
        const isolate = new Isolate(pools, { affinityMs });
        isolate.allHear(NOW_MS);
        const { candidates } = isolate.choose(NOW_MS, { session: session(id) });
        const plain = (pool: string) => {
          const found = candidates.find((candidate) => candidate.pool === pool)!;
          return found.costMs - found.terms["affinityMs"]!;
        };
        const costOf = (pool: string) => candidates.find((each) => each.pool === pool)!.costMs;
        const [cheaper, dearer] = costOf("a") <= costOf("b") ? ["a", "b"] : ["b", "a"];
        expect(plain(cheaper!) - plain(dearer!)).toBeLessThanOrEqual(affinityMs + 1e-9);
      }),
    );
  });

  it("brings prompts with one beginning together, while nobody holds it and after", () => {
    const isolate = new Isolate([description("a"), description("b")]);
    isolate.allHear(NOW_MS);
    const keys = Uint32Array.of(11, 12, 13, 14, 15, 16);
    const drawnTo = () => {
      const { candidates } = isolate.choose(NOW_MS, { keys });
      return candidates.find(({ terms }) => terms["affinityMs"] === 0)!.pool;
    };
    const drawn = drawnTo();
    const other = drawn === "a" ? "b" : "a";
    isolate.table.heardDigest(other, { matchedBlocks: () => 2 });
    expect(drawnTo()).toBe(other);
    const { candidates } = isolate.choose(NOW_MS, { keys });
    const held = candidates.find(({ pool }) => pool === other)!;
    expect(held).toMatchObject({ terms: { prefillMs: 87.2 }, uncachedTokens: 872 });
  });
});

describe("llm-d's hub mode", () => {
  const refs = (...names: string[]) => names.map((pluginRef) => ({ pluginRef }));
  const configOf = (...types: string[]) => {
    const producer = { type: "multicluster-approx-prefix-cache-producer" };
    const { config, issues } = loadSchedulerConfig(
      {
        plugins: [producer, ...types.map((type) => ({ type }))],
        schedulingProfiles: [{ name: "default", plugins: refs(...types) }],
      },
      { allowExperimentalPlugins: true },
    );
    expect(issues).toEqual([]);
    return { config: config! };
  };
  const isolateWith = (...types: string[]) => {
    const pools = ["a", "b", "c"].map((name) => description(name));
    const isolate = new Isolate(pools, {}, configOf(...types, "max-score-picker"));
    isolate.allHear(NOW_MS);
    return isolate;
  };

  it("ranks clusters by the queues that their summaries tell, and what was sent since", () => {
    const isolate = isolateWith("multicluster-queue-scorer");
    isolate.hears("a", NOW_MS, { load: { queueDepth: 4 } });
    isolate.hears("b", NOW_MS, { load: { queueDepth: 1 } });
    isolate.hears("c", NOW_MS, { load: { queueDepth: 2 } });
    const { order, candidates } = isolate.choose(NOW_MS);
    expect(order).toEqual(["b", "c", "a"]);
    expect(candidates[0]).toMatchObject({ terms: { score: 1 }, costMs: 0 });
    for (let i = 0; i < 9; i++) isolate.table.dispatched("b", 100, NOW_MS);
    expect(isolate.choose(NOW_MS).order).toEqual(["c", "b", "a"]);
  });

  it("heeds the operator's word on drained clusters, though it has no filter for it", () => {
    const isolate = isolateWith("multicluster-queue-scorer");
    isolate.table.setDrained(["b"]);
    expect([...isolate.choose(NOW_MS).order].sort()).toEqual(["a", "c"]);
  });

  it("ranks clusters by their KV memory", () => {
    const isolate = isolateWith("multicluster-kv-cache-utilization-scorer");
    isolate.hears("a", NOW_MS, { load: { kvUsage: 0.9 } });
    isolate.hears("b", NOW_MS, { load: { kvUsage: 0.5 } });
    isolate.hears("c", NOW_MS, { load: { kvUsage: 0.7 } });
    expect(isolate.choose(NOW_MS).order).toEqual(["b", "c", "a"]);
  });

  it("ranks clusters by what their digests say they hold", () => {
    const isolate = isolateWith("multicluster-prefix-cache-scorer");
    isolate.table.heardDigest("b", { matchedBlocks: () => 3 });
    isolate.table.heardDigest("c", { matchedBlocks: () => 1 });
    expect(isolate.choose(NOW_MS, { keys: new Uint32Array(8) }).order).toEqual(["b", "c", "a"]);
  });

  it("learns from the first choice alone where a session is, whoever comes after", () => {
    const type = "multicluster-session-affinity-filter";
    const sources = [{ header: "x-session-id" }];
    const parameters = { strategy: "session_id", sessionIdConfig: { sources } };
    const { config } = loadSchedulerConfig(
      {
        plugins: [{ type, parameters }, { type: "random-picker" }],
        schedulingProfiles: [{ name: "default", plugins: refs(type, "random-picker") }],
      },
      { allowExperimentalPlugins: true },
    );
    const pools = ["a", "b", "c"].map((name) => description(name));
    const isolate = new Isolate(pools, {}, { config });
    isolate.allHear(NOW_MS);
    const firsts = Array.from({ length: 12 }, () => {
      const { order } = isolate.choose(NOW_MS, { headers: { "x-session-id": "s1" } });
      expect(order).toHaveLength(3);
      return order[0];
    });
    expect(new Set(firsts).size).toBe(1);
  });

  it("keeps sessions where they were, and tells clients by the header", () => {
    const isolate = isolateWith("multicluster-session-affinity-filter");
    expect(isolate.chooser.requestHeaders).toEqual(["x-session-token"]);
    const { order, responseHeaders } = isolate.choose(NOW_MS);
    const [header] = responseHeaders!;
    expect(header).toEqual({ name: "x-session-token", values: order.map((name) => btoa(name)) });
    for (const name of ["a", "b", "c"]) {
      const headers = { "x-session-token": btoa(name) };
      expect(isolate.choose(NOW_MS, { headers }).order[0]).toBe(name);
      expect(isolate.choose(NOW_MS, { headers }).order).toHaveLength(3);
    }
  });
});

describe("a pool that flaps", () => {
  it("is taken up again six times a minute at most, whatever makes it flap", () => {
    const phases = fc.array(fc.integer({ min: 200, max: 5_000 }), { minLength: 30, maxLength: 60 });
    const cause = fc.constantFrom("empty", "silent", "refused");
    fc.assert(
      fc.property(phases, cause, fc.nat(1), fc.nat(), (lengths, why, failoverTier, seed) => {
        const far = description("far", { rttMs: 200, failoverTier });
        const pools = [description("near", { rttMs: 5 }), far];
        const isolate = new Isolate(pools, { staleAfterMs: 1_000 }, { seed });
        isolate.allHear(NOW_MS);
        let phase = 0;
        let phaseEndsMs = NOW_MS + lengths[0]!;
        let lastUsedMs = NOW_MS;
        let takenUp = 0;
        for (let nowMs = NOW_MS; nowMs < NOW_MS + 60_000; nowMs += 20) {
          if (nowMs >= phaseEndsMs) phaseEndsMs += lengths[++phase % lengths.length]!;
          const isUp = phase % 2 === 0;
          if ((nowMs - NOW_MS) % 200 === 0) {
            isolate.hears("far", nowMs);
            const usable = isUp || why !== "empty" ? 8 : 0;
            if (isUp || why !== "silent") isolate.hears("near", nowMs, { membership: { usable } });
          }
          const [first] = isolate.choose(nowMs).order;
          if (first !== "near") continue;
          const permit = isolate.breakers.acquire("near", nowMs);
          const isServed = isUp || why !== "refused";
          const outcome = isServed ? "success" : "failure";
          isolate.breakers.record("near", { permit, outcome, isFatal: true }, nowMs, rng);
          // Probes are no use: a pool is taken up where it gets requests in a row.
          if (permit !== "pass") continue;
          if (nowMs - lastUsedMs > 1_500) takenUp += 1;
          lastUsedMs = nowMs;
        }
        expect(takenUp).toBeLessThanOrEqual(6);
      }),
      { numRuns: 30 },
    );
  });
});

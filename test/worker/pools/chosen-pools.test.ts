import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PoolChoiceRequest } from "../../../src/scheduler/pools/contracts.ts";
import type { ModelRoute } from "../../../src/worker/model-routes.ts";
import { onlyPool, orderPools } from "../../../src/worker/pools/chosen-pools.ts";
import {
  choiceRequest,
  KEYS,
  ManyPools,
  poolsDirectory,
  PROMPT_TOKENS,
  summary,
} from "./support/many-pools.ts";

const NOW_MS = 1_800_000_000_000;
const NAMES = ["near", "far", "farther"];
const RTTS_MS = { near: 10, far: 80, farther: 160 };

beforeEach(() => void vi.useFakeTimers({ now: NOW_MS, toFake: ["Date"] }));
afterEach(() => vi.useRealTimers());

function world(routing: Record<string, unknown> = {}, pools: readonly object[] = []): ManyPools {
  const written = NAMES.map((name, i) => ({
    name,
    rttMs: RTTS_MS[name as keyof typeof RTTS_MS],
    ...pools[i],
  }));
  const world = new ManyPools(poolsDirectory(written, routing));
  return world.hear(
    NAMES.map((name) => summary(name)),
    NOW_MS,
  );
}

/** How often each pool comes first, over many seeds. */
function firsts(world: ManyPools, more: Partial<PoolChoiceRequest> = {}, routes = world.routes()) {
  const counts: Record<string, number> = {};
  for (let i = 0; i < 200; i++) {
    const name = order(world, more, routes, i)[0]!;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

function order(
  world: ManyPools,
  more: Partial<PoolChoiceRequest> = {},
  routes: readonly ModelRoute[] = world.routes(),
  seed = 1,
): string[] {
  return chosen(world, more, routes, seed).routes.map(({ pool }) => pool.config.name);
}

function chosen(
  world: ManyPools,
  more: Partial<PoolChoiceRequest> = {},
  routes: readonly ModelRoute[] = world.routes(),
  seed = 1,
) {
  const { pools, directory } = world;
  return orderPools({ pools, directory, routes, request: choiceRequest(more), seed });
}

/** Summaries are numbered; the next one of each. */
let seq = 1;
const next = (pool: string, more: Parameters<typeof summary>[1]) =>
  summary(pool, { seq: ++seq, ...more });

describe("the order of pools", () => {
  it("begins with the nearest while all are idle", () => {
    expect(firsts(world())["near"]).toBeGreaterThan(190);
  });

  it("goes by what was measured rather than by what is configured", () => {
    const measured = world();
    measured.rttsMs.set("near", 120).set("far", 5);
    expect(firsts(measured)["far"]).toBeGreaterThan(190);
  });

  it("begins with a farther one where the near one's queue is longer than that", () => {
    const queued = world().hear([next("near", { load: { waitMs: 2_000 } })], NOW_MS);
    expect(firsts(queued)["far"]).toBeGreaterThan(190);
  });

  it("begins with whoever holds the prompt, if that saves more than the way", () => {
    const warm = world().hold("far", KEYS, NOW_MS);
    expect(firsts(warm, { keys: KEYS })["far"]).toBeGreaterThan(150);
    const { candidates } = chosen(warm, { keys: KEYS });
    const prefill = (name: string) =>
      candidates.find(({ pool }) => pool === name)!.terms["prefillMs"]!;
    expect(prefill("far")).toBeLessThan(prefill("near"));
  });

  it("looks up each pool's caches under the name its engines have for the model", () => {
    const other = KEYS.map((word) => word ^ 0xffff_ffff);
    const warm = world().hold("far", other, NOW_MS);
    const renamed = new Map([["far", { model: "m-far", keys: other }]]);
    const cached = (more: Partial<PoolChoiceRequest>) =>
      chosen(warm, { keys: KEYS, ...more }).candidates.find(({ pool }) => pool === "far")!
        .uncachedTokens;
    expect(cached({})).toBe(PROMPT_TOKENS);
    expect(cached({ renamed })).toBeLessThan(PROMPT_TOKENS);
    expect(cached({})).toBe(PROMPT_TOKENS);
  });

  it("puts those that have said nothing lately behind those that have", () => {
    const stale = world();
    vi.setSystemTime(NOW_MS + 10_000);
    stale.hear([next("far", {}), next("farther", {})], NOW_MS + 10_000);
    expect(order(stale).at(-1)).toBe("near");
    const { candidates } = chosen(stale);
    expect(candidates.at(-1)).toMatchObject({ pool: "near", tier: 1, state: "stale" });
  });

  it("goes on by what is known when nobody says anything any more", () => {
    const silent = world();
    vi.setSystemTime(NOW_MS + 120_000);
    expect(order(silent).toSorted()).toEqual(NAMES.toSorted());
    // The older all of it is, the less the way tells them apart.
    const counts = firsts(silent);
    expect(counts["near"]).toBeGreaterThan(counts["farther"] ?? 0);
  });

  it("has no drained pool in it", () => {
    expect(order(world().drain(["near"], NOW_MS))).not.toContain("near");
    expect(order(world().drain(["near"], NOW_MS).drain([], NOW_MS))).toContain("near");
  });

  it("has nobody in it where filters leave all out, and says of each that they do", () => {
    const type = "label-selector-filter";
    const filtered = world({
      scheduler: {
        plugins: [{ type, parameters: { matchLabels: { zone: "none" } } }],
        schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: type }] }],
      },
    }).drain(["far"], NOW_MS);
    expect(order(filtered)).toEqual([]);
    const states = chosen(filtered).candidates.map(({ pool, state }) => `${pool} ${state}`);
    expect(states).toEqual(["near filtered", "far drained", "farther filtered"]);
  });

  it("has a pool whose breaker is open last", () => {
    const broken = world();
    const report = { permit: "pass", outcome: "failure", isFatal: true } as const;
    broken.breakers.record("near", report, NOW_MS, () => 0);
    expect(order(broken).at(-1)).toBe("near");
  });

  it("counts what was sent until a summary shows it", () => {
    const sent = world();
    for (let i = 0; i < 40; i++) chosen(sent).dispatched("near");
    expect(firsts(sent)["near"] ?? 0).toBeLessThan(20);
    const { terms } = chosen(sent).candidates.find(({ pool }) => pool === "near")!;
    expect(terms["waitMs"]).toBeGreaterThan(1_000);
  });

  it("counts a pool once for a request, however often it was tried", () => {
    const [once, often] = [world(), world()];
    chosen(once).dispatched("near");
    const request = chosen(often);
    for (let i = 0; i < 5; i++) request.dispatched("near");
    const wait = (of: ManyPools) =>
      chosen(of).candidates.find(({ pool }) => pool === "near")!.terms["waitMs"];
    expect(wait(often)).toBe(wait(once));
  });

  it("has as many pools as may be tried", () => {
    expect(order(world({ retryPoolsMax: 2 }))).toHaveLength(2);
    expect(chosen(world({ retryPoolsMax: 2 })).candidates).toHaveLength(3);
  });

  it("keeps a session together where pools are as good", () => {
    const equal = world({}, [{ rttMs: 20 }, { rttMs: 20 }, { rttMs: 20 }]);
    const session = (low: number) => ({ session: { source: "header", low, high: 7 } as const });
    expect(Math.max(...Object.values(firsts(equal, session(1))))).toBeGreaterThan(150);
    const homes = new Set(
      Array.from({ length: 32 }, (_, i) => {
        const counts = Object.entries(firsts(equal, session(Math.imul(i + 1, 0x9e3779b1) >>> 0)));
        return counts.toSorted((a, b) => b[1] - a[1])[0]![0];
      }),
    );
    expect(homes.size).toBe(3);
  });
});

describe("another variant", () => {
  const fallback = { far: { isFallback: true, variant: "int4" } };

  it("comes after every pool of the request's own, though it is better", () => {
    const busy = world().hear(
      ["near", "farther"].map((name) => next(name, { load: { waitMs: 5_000 } })),
      NOW_MS,
    );
    const routes = busy.routes(fallback).toSorted(byFallback);
    expect(order(busy, {}, routes)).toEqual([expect.anything(), expect.anything(), "far"]);
    expect(order(busy, {}, busy.routes())[0]).toBe("far");
  });

  it("comes after those that were empty when they were last heard of, long ago", () => {
    const silent = world().hear(
      [next("near", { usable: 0 }), next("farther", { usable: 0 })],
      NOW_MS,
    );
    const routes = silent.routes(fallback).toSorted(byFallback);
    expect(order(silent, {}, routes)[0]).toBe("far");
    vi.setSystemTime(NOW_MS + 20_000);
    silent.hear([next("far", {})], NOW_MS + 20_000);
    expect(order(silent, {}, routes).at(-1)).toBe("far");
  });

  it("comes before those of the request's own that cannot serve", () => {
    const broken = world();
    const report = { permit: "pass", outcome: "failure", isFatal: true } as const;
    broken.breakers.record("near", report, NOW_MS, () => 0);
    broken.hear([next("farther", { usable: 0 })], NOW_MS);
    const routes = broken.routes(fallback).toSorted(byFallback);
    expect(order(broken, {}, routes)[0]).toBe("far");
    expect(order(broken, {}, routes)).toHaveLength(3);
  });

  function byFallback(a: ModelRoute, b: ModelRoute): number {
    return Number(a.isFallback) - Number(b.isFallback);
  }
});

describe("an isolate", () => {
  it("takes over another configuration, and keeps what it knows of pools that stay", () => {
    const before = world().hear([next("near", { load: { waitMs: 2_000 } })], NOW_MS);
    expect(order(before)[0]).not.toBe("near");
    const written = ["near", "new"].map((name) => ({ name, rttMs: 10 }));
    const directory = poolsDirectory(written);
    before.known.configure(directory.poolNames);
    before.hear([summary("new")], NOW_MS);
    const routes = directory.pools.map((pool) => ({ ...before.routes()[0]!, pool }));
    const request = choiceRequest();
    const after = orderPools({ pools: before.pools, directory, routes, request, seed: 1 });
    expect(after.candidates.find(({ pool }) => pool === "near")!.terms["waitMs"]).toBeGreaterThan(
      1_000,
    );
    expect(after.candidates.map(({ pool }) => pool).toSorted()).toEqual(["near", "new"]);
  });

  it("does not go back to the configuration of a request that took long to come", () => {
    const written = ["near", "far"].map((name) => ({ name, rttMs: 10 }));
    const older = poolsDirectory(written);
    const some = world();
    const choose = (directory: typeof older, names: string[]) =>
      some.pools.choose(directory, choiceRequest(), names, { nowMs: NOW_MS, seed: 1 });
    const stateOfFarther = () =>
      choose(some.directory, NAMES).candidates.find(({ pool }) => pool === "farther")!.state;
    expect(stateOfFarther()).toBe("fresh");
    // It was made later, whatever its version, so it is the one that is in force.
    const newer = poolsDirectory([...written, { name: "farther" }]);
    choose(newer, NAMES);
    for (const directory of [older, some.directory])
      expect(choose(directory, ["near", "far"]).order).toHaveLength(2);
    expect(stateOfFarther()).toBe("fresh");
    expect(some.pools.states().map(({ pool }) => pool)).toEqual(NAMES);
  });

  it("gives a pool that is not drained any more its share by and by, whoever it was asked for before", () => {
    const share = (some: ManyPools) => (firsts(some)["near"] ?? 0) / 200;
    const drained = world();
    expect(share(drained)).toBeGreaterThan(0.9);
    drained.drain(["near"], NOW_MS);
    // As admission has it: a drained pool does not come into question, and one alone is no choice.
    expect(firsts(drained, {}, drained.routes().slice(1))["near"]).toBeUndefined();
    drained.drain([], NOW_MS);
    expect(share(drained)).toBeLessThan(0.3);

    const asked = world();
    expect(share(asked)).toBeGreaterThan(0.9);
    asked.drain(["near"], NOW_MS).drain([], NOW_MS);
    expect(share(asked)).toBeLessThan(0.3);
    // And has it, whatever configurations follow.
    const laterMs = NOW_MS + 60_000;
    vi.setSystemTime(laterMs);
    asked.hear(
      NAMES.map((name) => next(name, {})),
      laterMs,
    );
    expect(share(asked)).toBeGreaterThan(0.9);
    const { routing } = asked.directory;
    const written = NAMES.map((name) => ({ name, rttMs: RTTS_MS[name as keyof typeof RTTS_MS] }));
    const directory = poolsDirectory(written, { ...routing });
    const { order } = asked.pools.choose(directory, choiceRequest(), NAMES, {
      nowMs: laterMs,
      seed: 1,
    });
    expect(order).toHaveLength(3);
    expect(asked.pools.states()).toContainEqual({ pool: "near", state: "fresh" });
  });

  it("says how each pool stands", () => {
    const some = world();
    expect(some.pools.states()).toEqual([]);
    order(some.drain(["far"], NOW_MS));
    expect(some.pools.states()).toEqual([
      { pool: "near", state: "fresh" },
      { pool: "far", state: "drained" },
      { pool: "farther", state: "fresh" },
    ]);
  });
});

it("is no choice where there is one pool", () => {
  const [route] = world().routes();
  const only = onlyPool(route!);
  expect(only.routes).toEqual([route]);
  expect(only.candidates).toEqual([]);
  only.dispatched("near");
});

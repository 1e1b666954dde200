import { describe, expect, it } from "vitest";
import type { PoolCandidate } from "../../../src/scheduler/pools/contracts.ts";
import type { RequestFacts } from "../../../src/worker/telemetry.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import type { ModelRoute } from "../../../src/worker/model-routes.ts";
import type { ChosenPools } from "../../../src/worker/pools/chosen-pools.ts";
import { noteChoice, poolHeaders } from "../../../src/worker/pools/tell-choice.ts";
import { ManyPools, poolsDirectory } from "./support/many-pools.ts";

const world = new ManyPools(poolsDirectory(["a", "b", "c"].map((name) => ({ name }))));

function chosen(
  candidates: readonly [name: string, tier: number, costMs: number][],
  routes: Partial<Record<string, Partial<ModelRoute>>> = {},
): ChosenPools {
  return {
    routes: world.routes(routes),
    candidates: candidates.map(([pool, tier, costMs]): PoolCandidate => ({
      pool,
      tier,
      costMs,
      state: "fresh",
      terms: {},
    })),
    responseHeaders: [{ name: "x-session-token", values: ["of-a", "", "of-c"] }],
    dispatched: () => undefined,
  };
}

function facts(pool?: string): RequestFacts {
  const none = { path: "/", attempts: 1, endpointsTried: 1, isStream: false, requestBytes: 1 };
  return pool === undefined ? none : { ...none, pool };
}

function counted(pool: string, reason: string): number {
  const labels = `{pool="${pool}",reason="${reason}"} `;
  const name = `fairlead_pool_choices_total${labels}`;
  const line = metrics
    .render()
    .split("\n")
    .find((each) => each.startsWith(name));
  return Number(line?.slice(name.length) ?? 0);
}

describe("a choice in the log", () => {
  it("has the pool's tier and the best of the others", () => {
    const told = facts("a");
    noteChoice(
      told,
      chosen([
        ["a", 0, 10],
        ["b", 1, 5],
        ["c", 2, 1],
      ]),
    );
    expect(told).toMatchObject({ poolTier: 0, runnerUp: "b" });
    expect(told).not.toHaveProperty("variant");
  });

  it("has the variant where it is another", () => {
    const told = facts("b");
    noteChoice(
      told,
      chosen(
        [
          ["a", 0, 1],
          ["b", 0, 2],
        ],
        { b: { isFallback: true } },
      ),
    );
    expect(told).toMatchObject({ runnerUp: "a", variant: "*" });
  });

  it("has nothing of it where nothing was chosen, or nobody asked", () => {
    const [only, none] = [facts("a"), facts()];
    noteChoice(only, chosen([]));
    noteChoice(none, chosen([["a", 0, 1]]));
    expect([only, none]).toEqual([facts("a"), facts()]);
  });
});

describe("a choice in the metrics", () => {
  it.for<{ name: string; candidates: [string, number, number][]; pool: string }>([
    {
      name: "cost",
      candidates: [
        ["a", 0, 1],
        ["b", 0, 1],
        ["c", 1, 0],
      ],
      pool: "a",
    },
    {
      name: "draw",
      candidates: [
        ["a", 0, 2],
        ["b", 0, 1],
      ],
      pool: "a",
    },
    {
      name: "tier",
      candidates: [
        ["a", 0, 9],
        ["b", 1, 1],
      ],
      pool: "a",
    },
    {
      name: "failover",
      candidates: [
        ["a", 0, 1],
        ["b", 0, 2],
      ],
      pool: "b",
    },
  ])("counts as $name", ({ name, candidates, pool }) => {
    const before = counted(pool, name);
    noteChoice(facts(pool), chosen(candidates));
    expect(counted(pool, name)).toBe(before + 1);
  });
});

describe("a choice in the answer's headers", () => {
  it("has the pool only where that is told, and the plugins' headers for it", () => {
    expect(poolHeaders(chosen([]), "a", true)).toEqual({
      "x-fairlead-pool": "a",
      "x-session-token": "of-a",
    });
    expect(poolHeaders(chosen([]), "b", false)).toEqual({});
    expect(poolHeaders(chosen([]), undefined, true)).toEqual({});
  });

  it("has another variant, encoded", () => {
    const of = (variant: string | null) =>
      poolHeaders(chosen([], { b: { isFallback: true, variant } }), "b", false);
    expect(of("fp8 ü")).toEqual({ "x-fairlead-variant": "fp8%20%C3%BC" });
    expect(of(null)).toEqual({ "x-fairlead-variant": "*" });
    expect(poolHeaders(chosen([], { b: { variant: "fp8" } }), "b", false)).toEqual({});
  });
});

import { describe, expect, it } from "vitest";
import type { EndpointState, PoolState } from "../../../src/durable/state.ts";
import { mergeStates } from "../../../src/worker/shards/merge-state.ts";

function endpoint(id: string, fields: Partial<EndpointState> = {}): EndpointState {
  return {
    id,
    address: `${id}:8000`,
    engine: "vllm",
    sampleAgeMs: 100,
    isFresh: true,
    scrape: "ok",
    queueDepth: 1,
    runningRequests: 2,
    kvUsage: 0.5,
    kvCapacityTokens: 1_000,
    inFlightRequests: 1,
    inFlightTokens: 10,
    ...fields,
  };
}

function state(fields: Partial<PoolState> = {}): PoolState {
  return {
    pool: "eu-1",
    isConfigured: true,
    configVersion: 4,
    objectEpoch: "a",
    staleAfterMs: 1_000,
    endpoints: [],
    agents: [],
    tickets: { open: 2, unsettled: 1 },
    ...fields,
  };
}

const merged = (...endpoints: Partial<EndpointState>[]) =>
  mergeStates(endpoints.map((fields) => state({ endpoints: [endpoint("e1", fields)] })))
    .endpoints[0]!;

describe("states of a pool's objects", () => {
  it("are one object's where there is one", () => {
    const one = state({ endpoints: [endpoint("e1")] });
    expect(mergeStates([one])).toBe(one);
  });

  it("add up to what the objects have, as far as the slowest has heard of the configuration", () => {
    const states = [state(), state({ objectEpoch: "b", configVersion: 3 })];
    expect(mergeStates(states)).toMatchObject({
      pool: "eu-1",
      isConfigured: true,
      configVersion: 3,
      objectEpoch: "a,b",
      tickets: { open: 4, unsettled: 2 },
    });
    expect(mergeStates([state(), state({ isConfigured: false })]).isConfigured).toBe(false);
  });

  it("tell each agent once, since it is connected to all", () => {
    const relay = { agent: "r", role: "relay" } as const;
    const states = [5, 9].map((connectedAtMs) => state({ agents: [{ ...relay, connectedAtMs }] }));
    expect(mergeStates(states).agents).toEqual([{ ...relay, connectedAtMs: 9 }]);
    const both = [
      { ...relay, connectedAtMs: 5 },
      { agent: "r", role: "collector" as const, connectedAtMs: 6 },
    ];
    expect(mergeStates([state({ agents: both }), state()]).agents).toHaveLength(2);
  });

  it("tell what collectors know of caches, all parts together", () => {
    const residency = { blocks: 10, pairs: 20, bytes: 800, shed: 1 };
    const states = [state({ residency }), state({ residency: { ...residency, demotedModels: 2 } })];
    expect(mergeStates(states).residency).toEqual({
      blocks: 20,
      pairs: 40,
      bytes: 1_600,
      shed: 2,
      demotedModels: 2,
    });
  });

  it("compare a shadow over all decisions", () => {
    const shadow = {
      isRunning: true,
      decisions: 10,
      same: 8,
      onlyShadowRefused: 0,
      onlyShadowAccepted: 0,
      compared: 10,
      hitTokens: { real: 100, shadow: 50 },
      meanPredictedTtftMs: { real: 10, shadow: null },
    };
    const other = {
      ...shadow,
      isRunning: false,
      failure: "it threw",
      compared: 30,
      meanPredictedTtftMs: { real: 50, shadow: 20 },
    };
    expect(mergeStates([state({ shadow }), state({ shadow: other })]).shadow).toMatchObject({
      isRunning: false,
      failure: "it threw",
      decisions: 20,
      compared: 40,
      hitTokens: { real: 200, shadow: 100 },
      meanPredictedTtftMs: { real: 40, shadow: 20 },
    });
  });
});

describe("an endpoint of several objects", () => {
  it("is as who heard of it last says, with the requests of all", () => {
    expect(
      merged(
        { sampleAgeMs: 900, isFresh: false, queueDepth: 9 },
        { sampleAgeMs: 50, queueDepth: 3, inFlightRequests: 4 },
        { sampleAgeMs: null, isFresh: false, queueDepth: 0, scrape: "none", ejectedMs: 70 },
      ),
    ).toMatchObject({
      sampleAgeMs: 50,
      isFresh: true,
      queueDepth: 3,
      scrape: "ok",
      inFlightRequests: 6,
      inFlightTokens: 30,
      ejectedMs: 70,
    });
  });

  it("is told once, also where not every object knows it", () => {
    const { endpoints } = mergeStates([
      state({ endpoints: [endpoint("e1"), endpoint("e2")] }),
      state({ endpoints: [endpoint("e2"), endpoint("e3")] }),
    ]);
    expect(endpoints.map(({ id, inFlightRequests }) => [id, inFlightRequests])).toEqual([
      ["e1", 1],
      ["e2", 2],
      ["e3", 1],
    ]);
  });

  it.for([
    { each: ["exact", "exact"], all: "exact" },
    { each: ["exact", "none"], all: "partial" },
    { each: ["partial", "demoted"], all: "partial" },
    { each: ["demoted", "none"], all: "demoted" },
    { each: ["none", "none"], all: "none" },
  ] as const)("is known $all where objects know it $each", ({ each, all }) => {
    const known = merged(...each.map((knowledge) => ({ knowledge, knownBlocks: 5 })));
    expect(known).toMatchObject({ knowledge: all, knownBlocks: 10 });
  });

  it("has one accuracy, of all requests that were compared", () => {
    const known = merged(
      { cacheAccuracy: { compared: 10, withinBlock: 10, meanErrorTokens: 0 } },
      { cacheAccuracy: { compared: 30, withinBlock: 15, meanErrorTokens: 40 } },
      {},
    );
    expect(known.cacheAccuracy).toEqual({ compared: 40, withinBlock: 25, meanErrorTokens: 30 });
  });
});

import { describe, expect, it } from "vitest";
import {
  healthOf,
  type PoolFacts,
  summarize,
  WAIT_MS_MAX,
} from "../../../src/durable/summary/pool-summary.ts";
import { UNLEARNED } from "../../../src/scheduler/model/engine-speeds.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { SUMMARY_NAMES_MAX } from "../../../src/scheduler/pools/summary.ts";
import { endpoint } from "../pool-client.ts";

const NOW_MS = 1_000_000;
const IDLE = { saturation: 0.2, waiting: 0, isHeld: false, ahead: 0, waitMs: undefined };

/** Endpoints with samples of these ages; undefined: never sampled. */
function table(...agesMs: (number | undefined)[]): EndpointTable {
  const made = new EndpointTable();
  agesMs.forEach((ageMs, i) => {
    const slot = made.add(endpoint(i + 1))!;
    if (ageMs === undefined) return;
    const sample = { waiting: i, running: 1, kvUsage: 0.5, kvBlockSize: 16, kvBlocks: 1_000 };
    made.applySample(slot, sample, NOW_MS - ageMs);
  });
  return made;
}

function facts(of: Partial<PoolFacts>): PoolFacts {
  return {
    pool: "p",
    incarnation: "i",
    seq: 1,
    configVersion: 1,
    nowMs: NOW_MS,
    staleAfterMs: 2_000,
    table: table(100, 200),
    agents: 2,
    toldAtMs: NOW_MS - 300,
    names: { models: ["m"], adapters: [] },
    outlook: IDLE,
    endedPerSecond: 0,
    digestVersion: undefined,
    ...of,
  };
}

describe("summarize", () => {
  it("gives each signal an age of its own", () => {
    const { membership, load } = summarize(facts({}));
    expect(membership).toMatchObject({ ageMs: 300, endpoints: 2, usable: 2, agents: 2 });
    expect(load).toMatchObject({ ageMs: 100, queueDepth: 0.5, kvUsage: 0.5, waitMs: 0 });
  });

  it("leaves out what nobody has told", () => {
    const summary = summarize(facts({ table: table(undefined), toldAtMs: -Infinity }));
    expect(summary.membership).toBeUndefined();
    expect(summary.load).toBeUndefined();
    expect(summary.digestVersion).toBeUndefined();
    expect(summarize(facts({ table: new EndpointTable() })).speed).toBeUndefined();
  });

  it("tells of speeds what has been learned, by any endpoint of the pool", () => {
    const endpoints = table(100, 100);
    const told = () => summarize(facts({ table: endpoints, endedPerSecond: 3 })).speed;
    expect(told()).toEqual({ endedPerSecond: 3 });
    const long = { ttftMs: 20_040, decodeMs: null, workTokens: 20_000, isHeld: false };
    endpoints.completed(0, long);
    expect(told()).toEqual({ endedPerSecond: 3, prefillMsPerToken: expect.any(Number) });
    expect(told()!.prefillMsPerToken).toBeGreaterThan(UNLEARNED.prefillMsPerToken);
    endpoints.completed(0, { ...long, ttftMs: null, decodeMs: 400 });
    expect(told()).toMatchObject({ serviceMs: 400 });
  });

  it("counts stale and ejected endpoints as there, and not as usable", () => {
    const endpoints = table(100, 5_000, 100);
    endpoints.eject(2, NOW_MS + 1_000);
    const { membership } = summarize(facts({ table: endpoints }));
    expect(membership).toMatchObject({ endpoints: 3, usable: 1 });
  });

  it("never looks idle without a usable endpoint", () => {
    const { membership, load } = summarize(facts({ table: table(5_000, 6_000) }));
    expect(membership?.usable).toBe(0);
    expect(load).toMatchObject({ ageMs: 5_000, waitMs: WAIT_MS_MAX });
  });

  it("predicts the wait by prompts that are under way, where the least are", () => {
    const endpoints = table(100, 100);
    const prompt = { promptTokens: 10_000, uncachedTokens: 10_000 };
    endpoints.dispatched(0, 10_000, NOW_MS, prompt);
    expect(summarize(facts({ table: endpoints })).load!.waitMs).toBe(0);
    endpoints.dispatched(1, 10_000, NOW_MS, { promptTokens: 4_000, uncachedTokens: 4_000 });
    const { load } = summarize(facts({ table: endpoints }));
    expect(load!.waitMs).toBeCloseTo(4_000 * UNLEARNED.prefillMsPerToken);
    expect(load!.pendingPrefillTokens).toBeCloseTo(14_000);
    expect(load).toMatchObject({ inFlightRequests: 2, inFlightTokens: 20_000 });
  });

  it("adds the wait in the queue", () => {
    const held = { saturation: 1.2, waiting: 9, isHeld: true, ahead: 9 };
    const waitOf = (waitMs: number | undefined, endedPerSecond = 0) =>
      summarize(facts({ outlook: { ...held, waitMs }, endedPerSecond })).load!;
    expect(waitOf(2_500)).toMatchObject({ waitMs: 2_500, queued: 9, saturation: 1.2 });
    expect(waitOf(undefined, 20).waitMs).toBe(500);
    expect(waitOf(undefined).waitMs).toBe(1_000);
    expect(waitOf(Infinity).waitMs).toBe(WAIT_MS_MAX);
  });

  it("takes a saturation that is no number for full", () => {
    const outlook = { ...IDLE, saturation: Number.NaN };
    expect(summarize(facts({ outlook })).load!.saturation).toBe(1);
  });

  it("tells a bounded number of names", () => {
    const models = Array.from({ length: SUMMARY_NAMES_MAX + 1 }, (_, i) => `m${i}`);
    const { membership } = summarize(facts({ names: { models, adapters: models } }));
    expect(membership!.models).toHaveLength(SUMMARY_NAMES_MAX);
    expect(membership!.adapters).toHaveLength(SUMMARY_NAMES_MAX);
  });
});

describe("healthOf", () => {
  const base = healthOf(summarize(facts({})));

  it.for<[string, Partial<PoolFacts>]>([
    ["a configuration", { configVersion: 2 }],
    ["agents", { agents: 1 }],
    ["endpoints that are usable", { table: table(100, 5_000) }],
    ["endpoints", { table: table(100) }],
    ["models", { names: { models: ["n"], adapters: [] } }],
    ["being full", { outlook: { ...IDLE, saturation: 1 } }],
    ["nobody having told a load", { table: table(undefined, undefined) }],
  ])("changes with %s", ([, of]) => {
    expect(healthOf(summarize(facts(of)))).not.toBe(base);
  });

  it.for<[string, Partial<PoolFacts>]>([
    ["ages", { toldAtMs: NOW_MS, nowMs: NOW_MS + 1 }],
    ["loads", { outlook: { ...IDLE, saturation: 0.9 } }],
    ["numbers", { seq: 7 }],
    ["digests", { digestVersion: "i:2" }],
  ])("does not change with %s", ([, of]) => {
    expect(healthOf(summarize(facts(of)))).toBe(base);
  });
});

import { describe, expect, it } from "vitest";
import { mergeSummaries } from "../../../src/scheduler/pools/merge-summaries.ts";
import type { LoadSignal, PoolSummary } from "../../../src/scheduler/pools/summary.ts";

const FACTS = { incarnation: "merged", seq: 7, count: 2 };

function load(fields: Partial<LoadSignal> = {}): LoadSignal {
  return {
    ageMs: 100,
    saturation: 0.5,
    waitMs: 10,
    queued: 1,
    inFlightRequests: 3,
    inFlightTokens: 300,
    pendingPrefillTokens: 50,
    queueDepth: 2,
    kvUsage: 0.4,
    kvCapacityTokens: 1_000,
    ...fields,
  };
}

function part(fields: Partial<PoolSummary> = {}, heldMs = 0) {
  const summary: PoolSummary = {
    pool: "eu-1",
    incarnation: "i",
    seq: 1,
    configVersion: 4,
    shard: { index: 0, count: 2 },
    load: load(),
    ...fields,
  };
  return { summary, heldMs };
}

const members = (ageMs: number, usable: number) => ({
  ageMs,
  endpoints: 4,
  usable,
  agents: 2,
  models: ["m"],
  adapters: [],
});

describe("summaries of a pool's objects", () => {
  it("are one of the pool, of nobody's own making", () => {
    const merged = mergeSummaries([part(), part({ configVersion: 3 })], {
      ...FACTS,
      digestVersion: "d",
    });
    expect(merged).toMatchObject({
      pool: "eu-1",
      incarnation: "merged",
      seq: 7,
      configVersion: 3,
      digestVersion: "d",
    });
    expect(merged).not.toHaveProperty("shard");
    expect(mergeSummaries([part({ load: undefined as never })], FACTS)).not.toHaveProperty("load");
  });

  it("add up what each has, and take the mean of what each is", () => {
    const merged = mergeSummaries(
      [
        part(),
        part({ load: load({ saturation: 1, waitMs: 30, queued: 5, ageMs: 40, kvUsage: 0.9 }) }),
      ],
      FACTS,
    );
    expect(merged.load).toEqual(
      load({
        ageMs: 40,
        kvUsage: 0.9,
        saturation: 0.75,
        waitMs: 20,
        queued: 6,
        inFlightRequests: 6,
        inFlightTokens: 600,
      }),
    );
  });

  it("take the endpoints from who has heard of them last, aged by its way", () => {
    const parts = [part({ membership: members(10, 4) }, 900), part({ membership: members(50, 2) })];
    expect(mergeSummaries(parts, FACTS).membership).toEqual(members(50, 2));
    expect(mergeSummaries(parts.slice(0, 1), FACTS).membership).toEqual(members(910, 4));
  });

  it("count one that is silent as one like the others", () => {
    const silent = part({ load: load({ inFlightRequests: 0, saturation: 0 }) }, 5_000);
    expect(mergeSummaries([part(), silent], FACTS).load).toMatchObject({
      inFlightRequests: 6,
      saturation: 0.5,
    });
    // One that was never heard of, too.
    expect(mergeSummaries([part()], FACTS).load!.inFlightRequests).toBe(6);
  });

  it("are as old as the last words where all are silent", () => {
    const merged = mergeSummaries([part({}, 9_000), part({}, 5_000)], FACTS);
    expect(merged.load).toMatchObject({ ageMs: 5_100, inFlightRequests: 6 });
  });

  it("tell speeds as far as anybody has learned them", () => {
    const merged = mergeSummaries(
      [
        part({ speed: { endedPerSecond: 3, prefillMsPerToken: 0.1 } }),
        part({ speed: { endedPerSecond: 5, serviceMs: 900 } }),
      ],
      FACTS,
    );
    expect(merged.speed).toEqual({ endedPerSecond: 8, prefillMsPerToken: 0.1, serviceMs: 900 });
    expect(mergeSummaries([part()], FACTS)).not.toHaveProperty("speed");
  });
});

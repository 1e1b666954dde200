import { describe, expect, it } from "vitest";
import { DEPLOYMENT_LIMITS } from "../../../src/config/deployment.ts";
import type { PoolsKnown } from "../../../src/durable/contract.ts";
import {
  REPORTS_PER_SECOND_MAX,
  ReportedPools,
  SUMMARY_CHARS_MAX,
} from "../../../src/durable/directory/reported-pools.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";

const NOTHING: PoolsKnown = { epoch: "", revision: 0, digests: [] };

function summary(pool: string, seq = 1, incarnation = "i1"): PoolSummary {
  return { pool, incarnation, seq, configVersion: 1 };
}

function directory(pools: readonly string[] = ["a", "b"]) {
  const clock = { nowMs: 10_000 };
  const reported = new ReportedPools("epoch-1", () => clock.nowMs);
  reported.configure(pools);
  const read = (known: Partial<PoolsKnown> = {}) => reported.read({ ...NOTHING, ...known });
  const told = (known: Partial<PoolsKnown> = {}) =>
    read(known).summaries.map(({ json, ageMs }) => {
      const { pool, seq } = JSON.parse(json) as PoolSummary;
      return { pool, seq, ageMs };
    });
  return { clock, reported, read, told };
}

describe("reporting", () => {
  it("is for configured pools", () => {
    const { reported, told } = directory();
    expect(reported.report(summary("stranger"))).toMatchObject({
      outcome: "unknown",
      isKnown: false,
      wantsDigest: false,
    });
    expect(reported.report(summary("a"))).toMatchObject({ outcome: "accepted", isKnown: true });
    expect(told()).toEqual([{ pool: "a", seq: 1, ageMs: 0 }]);
  });

  it("changes nothing with what is older", () => {
    const { reported, told } = directory();
    reported.report(summary("a", 5));
    expect(reported.report(summary("a", 4))).toMatchObject({ outcome: "older", isKnown: true });
    reported.report(summary("a", 1, "i2"));
    expect(reported.report(summary("a", 6, "i1"))).toMatchObject({ outcome: "older" });
    expect(told()).toMatchObject([{ pool: "a", seq: 1 }]);
  });

  it("is asked to be slower the more pools there are", () => {
    expect(directory(["a"]).reported.report(summary("a")).pauseMs).toBe(2);
    const names = Array.from({ length: DEPLOYMENT_LIMITS.poolsMax }, (_, i) => `p${i}`);
    const { pauseMs } = directory(names).reported.report(summary("p0"));
    expect((names.length * 1_000) / pauseMs!).toBeLessThanOrEqual(REPORTS_PER_SECOND_MAX);
  });

  it("keeps the load of a summary whose names are too many", () => {
    const { reported, read } = directory();
    const membership = { ageMs: 1, endpoints: 2, usable: 2, agents: 1, adapters: [] };
    const load = { saturation: 0.5 } as PoolSummary["load"];
    const of = (models: string[]) => {
      reported.configure([]);
      reported.configure(["a"]);
      reported.report({ ...summary("a"), membership: { ...membership, models }, load: load! });
      return JSON.parse(read().summaries[0]!.json) as PoolSummary;
    };
    const model = "m".repeat(250);
    const many = Array.from({ length: Math.ceil(SUMMARY_CHARS_MAX / 250) }, () => model);
    expect(of([model]).membership!.models).toEqual([model]);
    const cut = of(many);
    expect(cut).toMatchObject({ membership: { models: [], usable: 2 }, load: { saturation: 0.5 } });
    expect(JSON.stringify(cut).length).toBeLessThanOrEqual(SUMMARY_CHARS_MAX);
  });
});

describe("reading", () => {
  it("tells what is newer, with ages as of the answer", () => {
    const { clock, reported, read, told } = directory();
    reported.report(summary("a"));
    reported.report(summary("b"));
    const { epoch, revision } = read();
    expect(told({ epoch, revision })).toEqual([]);
    clock.nowMs += 250;
    reported.report(summary("b", 2));
    clock.nowMs += 40;
    expect(told({ epoch, revision })).toEqual([{ pool: "b", seq: 2, ageMs: 40 }]);
    expect(told()).toEqual([
      { pool: "a", seq: 1, ageMs: 290 },
      { pool: "b", seq: 2, ageMs: 40 },
    ]);
  });

  it("tells all to who knows of another epoch", () => {
    const { reported, told } = directory();
    reported.report(summary("a"));
    expect(told({ epoch: "before", revision: 1_000 })).toHaveLength(1);
  });

  it("tells nothing of pools that are configured no more", () => {
    const { reported, read, told } = directory();
    const digest = { pool: "a", version: "v1", ageMs: 0, bytes: new Uint8Array(8) };
    reported.report({ ...summary("a"), digestVersion: "v1" }, digest);
    reported.report(summary("b"));
    reported.configure(["b"]);
    expect(told()).toMatchObject([{ pool: "b" }]);
    expect(read({ digests: [{ pool: "a", known: "" }] }).digests).toEqual([]);
    expect(reported.digestBytes).toBe(0);
  });
});

import { describe, expect, it } from "vitest";
import { DEPLOYMENT_LIMITS } from "../../../src/config/deployment.ts";
import type { PoolsKnown } from "../../../src/durable/directory/contract.ts";
import {
  REPORTS_PER_SECOND_MAX,
  ReportedPools,
  SUMMARY_CHARS_MAX,
} from "../../../src/durable/directory/reported-pools.ts";
import { splitDigests } from "../../../src/scheduler/kv/digest/joined-digest.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";

const NOTHING: PoolsKnown = { epoch: "", revision: 0, digests: [] };

function summary(pool: string, seq = 1, incarnation = "i1"): PoolSummary {
  return { pool, incarnation, seq, configVersion: 1 };
}

function directory(pools: readonly string[] = ["a", "b"]) {
  const clock = { nowMs: 10_000 };
  const registry = new MetricRegistry();
  const reported = new ReportedPools({ epoch: "epoch-1", clock: () => clock.nowMs, registry });
  reported.configure(pools);
  const read = (known: Partial<PoolsKnown> = {}) => reported.read({ ...NOTHING, ...known });
  const told = (known: Partial<PoolsKnown> = {}) =>
    read(known).summaries.map(({ json, ageMs }) => {
      const { pool, seq } = JSON.parse(json) as PoolSummary;
      return { pool, seq, ageMs };
    });
  const metric = (name: string) =>
    registry
      .render()
      .split("\n")
      .filter((line) => line.startsWith(`fairlead_${name}`))
      .map((line) => line.slice("fairlead_".length));
  return { clock, reported, read, told, metric };
}

describe("reporting", () => {
  it("is for configured pools", () => {
    const { reported, told } = directory();
    expect(reported.report(summary("stranger"))).toMatchObject({
      isKnown: false,
      wantsDigest: false,
    });
    expect(reported.report(summary("a"))).toMatchObject({ isKnown: true });
    expect(told()).toEqual([{ pool: "a", seq: 1, ageMs: 0 }]);
  });

  it("changes nothing with what is older", () => {
    const { reported, told } = directory();
    reported.report(summary("a", 5));
    expect(reported.report(summary("a", 4))).toMatchObject({ isKnown: true });
    reported.report(summary("a", 1, "i2"));
    reported.report(summary("a", 6, "i1"));
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
    const { reported, read, told, metric } = directory();
    const digest = { pool: "a", version: "v1", ageMs: 0, bytes: new Uint8Array(8) };
    reported.report({ ...summary("a"), digestVersion: "v1" }, digest);
    reported.report(summary("b"));
    reported.configure(["b"]);
    expect(told()).toMatchObject([{ pool: "b" }]);
    expect(read({ digests: [{ pool: "a", known: "" }] }).digests).toEqual([]);
    expect(metric("directory_digest_bytes")).toEqual(["directory_digest_bytes 0"]);
  });
});

describe("a pool of several objects", () => {
  const part = (index: number, seq = 1, fields: Partial<PoolSummary> = {}): PoolSummary => ({
    ...summary("a", seq, `of-${index}`),
    shard: { index, count: 3 },
    speed: { endedPerSecond: 10 },
    ...fields,
  });
  const only = (reads: ReturnType<ReturnType<typeof directory>["read"]>) => {
    expect(reads.summaries).toHaveLength(1);
    return JSON.parse(reads.summaries[0]!.json) as PoolSummary;
  };

  it("is told as one, newer with each of them", () => {
    const { reported, read } = directory();
    reported.report(part(0));
    const first = only(read());
    reported.report(part(1));
    reported.report(part(2, 1, { speed: { endedPerSecond: 40 } }));
    const last = only(read());
    expect(last).toMatchObject({ pool: "a", speed: { endedPerSecond: 60 } });
    expect(last).not.toHaveProperty("shard");
    expect(last.incarnation).toBe(first.incarnation);
    expect(last.seq).toBeGreaterThan(first.seq);
  });

  it("takes no older word of an object, nor one of an object that does not count", () => {
    const { reported, read } = directory();
    reported.report(part(0, 5));
    reported.report(part(0, 4, { speed: { endedPerSecond: 99 } }));
    reported.report(part(7, 1, { speed: { endedPerSecond: 99 } }));
    expect(only(read()).speed).toEqual({ endedPerSecond: 30 });
  });

  it("goes on with fewer objects, and as one of one", () => {
    const { clock, reported, read } = directory();
    for (const index of [0, 1, 2]) reported.report(part(index));
    const two = { shard: { index: 0, count: 2 }, configVersion: 2 };
    reported.report(part(0, 2, two));
    // Of the configuration before, and late.
    reported.report(part(2, 2));
    expect(only(read()).speed).toEqual({ endedPerSecond: 20 });
    clock.nowMs += 10_000;
    reported.report({ ...summary("a", 1, "of-0"), configVersion: 1 });
    expect(only(read()).speed).toBeDefined();
    reported.report({ ...summary("a", 2, "of-0"), configVersion: 3 });
    expect(only(read())).toMatchObject({ incarnation: "of-0", configVersion: 3 });
  });

  it("is asked to be slower the more objects it has", () => {
    const { reported } = directory();
    expect(reported.report(part(0)).pauseMs).toBe((4 * 1_000) / REPORTS_PER_SECOND_MAX);
  });

  it("has one digest, of what its objects have sent", () => {
    const { reported, read } = directory();
    const wanted = { digests: [{ pool: "a", known: "" }] };
    read(wanted);
    const send = (index: number, digestVersion: string, seq: number) => {
      const bytes = new Uint8Array(8).fill(index);
      const digest = { pool: "a", version: digestVersion, ageMs: 0, bytes };
      return reported.report(part(index, seq, { digestVersion }), digest);
    };
    expect(reported.report(part(1, 1, { digestVersion: "x:1" })).wantsDigest).toBe(true);
    expect(send(1, "x:1", 2).wantsDigest).toBe(false);
    expect(reported.report(part(0, 1, { digestVersion: "y:1" })).wantsDigest).toBe(true);
    send(0, "y:1", 2);
    expect(only(read()).digestVersion).toBe("y:1,x:1,");
    const [digest] = read(wanted).digests;
    expect(digest).toMatchObject({ pool: "a", version: "y:1,x:1," });
    expect(splitDigests(digest!.bytes)!.map(([first]) => first)).toEqual([0, 1, undefined]);
    expect(reported.report(part(1, 3, { digestVersion: "x:2" })).wantsDigest).toBe(true);
  });
});

describe("metrics", () => {
  it("count reports and reads, and tell how old summaries are", () => {
    const { clock, reported, read, metric } = directory();
    const digest = { pool: "a", version: "v1", ageMs: 0, bytes: new Uint8Array(9) };
    reported.report({ ...summary("a", 2), digestVersion: "v1" }, digest);
    reported.report(summary("a", 1));
    reported.report(summary("stranger"));
    clock.nowMs += 1_500;
    read({ digests: [{ pool: "a", known: "" }] });
    expect(metric("directory_reports_total").toSorted()).toEqual([
      'directory_reports_total{outcome="accepted"} 1',
      'directory_reports_total{outcome="older"} 1',
      'directory_reports_total{outcome="unknown"} 1',
    ]);
    expect(metric("pool_summary_age")).toEqual(['pool_summary_age_seconds{pool="a"} 1.5']);
    expect(metric("directory_summaries_read")).toEqual(["directory_summaries_read_total 1"]);
    expect(metric("directory_digest")).toEqual([
      "directory_digest_read_bytes_total 9",
      "directory_digest_bytes 9",
    ]);
  });
});

import { describe, expect, it } from "vitest";
import {
  DIGESTS_WANTED_MAX,
  type PoolDigest,
  type PoolsRead,
} from "../../../src/durable/directory/contract.ts";
import { CacheDigestBuilder } from "../../../src/scheduler/kv/digest/cache-digest-builder.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";
import { DIGEST_IDLE_MS } from "../../../src/durable/directory/kept-digests.ts";
import {
  DIGEST_ASK_INTERVAL_MS,
  DIGEST_BYTES_PER_SECOND,
  DIGEST_REFRESH_MS,
  DIGEST_UNNAMED_MS,
  DIGEST_WANTED_MS,
  DIGESTS_HELD_MAX,
  KnownPools,
  type PoolKnowledge,
} from "../../../src/worker/pools/known-pools.ts";

const NOW_MS = 1_000_000;
/** Eight blocks of a prompt. */
const KEYS = Uint32Array.from({ length: 16 }, (_, i) => (i + 1) * 2_654_435_761);

function summary(pool: string, seq: number, digestVersion?: string): PoolSummary {
  const base = { pool, incarnation: "i1", seq, configVersion: 1 };
  return digestVersion === undefined ? base : { ...base, digestVersion };
}

function digest(pool: string, version: string): PoolDigest {
  const builder = new CacheDigestBuilder({ keyCount: 64 });
  for (let i = 0; i < KEYS.length; i += 2) builder.add(KEYS[i]!, KEYS[i + 1]!);
  return { pool, version, ageMs: 0, bytes: builder.encode() };
}

interface Told {
  readonly summaries?: readonly PoolSummary[];
  readonly ageMs?: number;
  readonly digests?: readonly PoolDigest[];
  readonly drained?: readonly string[];
  readonly epoch?: string;
  readonly revision?: number;
}

function read({ summaries = [], ageMs = 0, digests = [], drained = [], ...told }: Told): PoolsRead {
  return {
    epoch: told.epoch ?? "e1",
    revision: told.revision ?? 1,
    summaries: summaries.map((each) => ({ json: JSON.stringify(each), ageMs })),
    digests,
    drained,
  };
}

function knownPools(pools: readonly string[] = ["a", "b"]): KnownPools {
  const known = new KnownPools();
  known.configure(pools);
  return known;
}

/** What a table is told, in order. */
function table() {
  const told: string[] = [];
  let readAtMs = -Infinity;
  const knowledge: PoolKnowledge = {
    heard: ({ summary: { pool, seq } }) => told.push(`${pool} ${seq}`),
    heardDigest: (pool, content) =>
      told.push(`${pool} ${content === undefined ? "no " : ""}digest`),
    setDrained: (pools) => told.push(`drained ${pools.join(" ")}`),
    read: (atMs) => void (readAtMs = atMs),
  };
  return { knowledge, take: () => told.splice(0), readAtMs: () => readAtMs };
}

describe("summaries", () => {
  it("are held with the time at which they left their pool, the way counted in", () => {
    const known = knownPools();
    known.update(read({ summaries: [summary("a", 1)], ageMs: 40 }), NOW_MS);
    expect(known.summaryOf("a")).toEqual({ summary: summary("a", 1), sentAtMs: NOW_MS - 40 });
    expect(known.summaryOf("b")).toBeUndefined();
    expect(known.ages(NOW_MS + 10)).toEqual([{ pool: "a", ageMs: 50 }]);
  });

  it("come from the directory and from pools' objects; the newest counts", () => {
    const known = knownPools();
    known.heard(summary("a", 5), NOW_MS);
    known.update(read({ summaries: [summary("a", 4)] }), NOW_MS + 100);
    expect(known.summaryOf("a")).toMatchObject({ summary: { seq: 5 }, sentAtMs: NOW_MS });
    known.update(read({ summaries: [summary("a", 6)] }), NOW_MS + 200);
    expect(known.summaryOf("a")).toMatchObject({ summary: { seq: 6 } });
  });

  it("are of configured pools only", () => {
    const known = knownPools();
    known.update(read({ summaries: [summary("stranger", 1), summary("a", 1)] }), NOW_MS);
    known.heard(summary("stranger", 2), NOW_MS);
    expect(known.ages(NOW_MS)).toMatchObject([{ pool: "a" }]);
    known.configure(["b"]);
    expect(known.ages(NOW_MS)).toEqual([]);
  });

  it("are asked for by what is known, and kept when the directory begins anew", () => {
    const known = knownPools();
    expect(known.known(NOW_MS)).toEqual({ epoch: "", revision: 0, digests: [] });
    known.update(read({ summaries: [summary("a", 3)], revision: 70 }), NOW_MS);
    // Two reads were answered out of turn.
    known.update(read({ revision: 60 }), NOW_MS);
    expect(known.known(NOW_MS)).toMatchObject({ epoch: "e1", revision: 70 });
    known.update(read({ epoch: "e2", revision: 2 }), NOW_MS);
    expect(known.known(NOW_MS)).toMatchObject({ epoch: "e2", revision: 2 });
    expect(known.summaryOf("a")).toMatchObject({ summary: { seq: 3 } });
  });
});

describe("digests", () => {
  const wanted = (known: KnownPools, nowMs: number) => known.known(nowMs).digests;

  it("are wanted of pools that requests could go to, and that have another than is held", () => {
    const known = knownPools();
    known.update(read({ summaries: [summary("a", 1, "v1"), summary("b", 1)] }), NOW_MS);
    expect(wanted(known, NOW_MS)).toEqual([]);
    known.requested(["a", "b", "stranger"], NOW_MS);
    // That of b may not have been made, for want of anybody who asks.
    const [a, b] = ["a", "b"].map((pool) => ({ pool, known: "" }));
    expect(wanted(known, NOW_MS)).toEqual([a, b]);
    expect(wanted(known, NOW_MS)).toEqual([a]);
    known.update(read({ digests: [digest("a", "v1")] }), NOW_MS);
    expect(known.digestOf("a")?.matchedBlocks(KEYS)).toBe(KEYS.length / 2);
    expect(wanted(known, NOW_MS)).toEqual([]);
    known.heard(summary("a", 2, "v2"), NOW_MS);
    expect(wanted(known, NOW_MS + DIGEST_REFRESH_MS - 1)).toEqual([]);
    expect(wanted(known, NOW_MS + DIGEST_REFRESH_MS)).toEqual([{ pool: "a", known: "v1" }]);
  });

  it("are asked for again in time, for pools to go on making them", () => {
    const known = knownPools();
    known.requested(["a", "b"], NOW_MS);
    wanted(known, NOW_MS);
    known.update(
      read({ summaries: [summary("a", 1, "v1")], digests: [digest("a", "v1")] }),
      NOW_MS,
    );
    expect(wanted(known, NOW_MS + DIGEST_ASK_INTERVAL_MS - 1)).toEqual([]);
    const asked = wanted(known, NOW_MS + DIGEST_ASK_INTERVAL_MS);
    expect(asked).toEqual([
      { pool: "b", known: "" },
      { pool: "a", known: "v1" },
    ]);
    expect(wanted(known, NOW_MS + DIGEST_ASK_INTERVAL_MS)).toEqual([]);
    // Before the pools believe that nobody needs them.
    expect(DIGEST_ASK_INTERVAL_MS).toBeLessThan(DIGEST_IDLE_MS);
  });

  it("are dropped where no request has come for a while", () => {
    const known = knownPools();
    known.requested(["a"], NOW_MS);
    known.update(read({ digests: [digest("a", "v1")] }), NOW_MS);
    known.known(NOW_MS + DIGEST_WANTED_MS - 1);
    expect(known.digestOf("a")).toBeDefined();
    known.known(NOW_MS + DIGEST_WANTED_MS);
    expect(known.digestOf("a")).toBeUndefined();
  });

  it("are dropped when no summary names them any more, and stay while one does", () => {
    const known = knownPools();
    const digests = [digest("a", "v1"), digest("b", "v1")];
    const laterMs = NOW_MS + DIGEST_UNNAMED_MS + DIGEST_REFRESH_MS;
    known.update(read({ digests }), NOW_MS);
    known.heard(summary("b", 1, "v1"), laterMs - 1);
    known.requested(["a", "b"], laterMs);
    known.known(laterMs);
    expect(known.digestOf("a")).toBeUndefined();
    expect(known.digestOf("b")).toBeDefined();
  });

  it("are void once a pool says that it has no endpoints, and do not come back", () => {
    const known = knownPools();
    const { knowledge, take } = table();
    const gone = (seq: number, digestVersion = "v1") => ({
      ...summary("a", seq, digestVersion),
      membership: { ageMs: 0, endpoints: 0, usable: 0, agents: 1, models: [], adapters: [] },
    });
    known.requested(["a"], NOW_MS);
    wanted(known, NOW_MS);
    known.update(
      read({ summaries: [summary("a", 1, "v1")], digests: [digest("a", "v1")] }),
      NOW_MS,
    );
    let revision = known.applyTo(knowledge, 0);
    expect(take()).toContain("a digest");
    known.heard(gone(2), NOW_MS);
    revision = known.applyTo(knowledge, revision);
    expect(take()).toEqual(["a 2", "a no digest"]);
    // Its object has made no other yet, and an answer that was on its way brings the same.
    expect(wanted(known, NOW_MS + DIGEST_REFRESH_MS)).toEqual([]);
    known.update(read({ digests: [digest("a", "v1")] }), NOW_MS);
    known.heard(summary("a", 3, "v1"), NOW_MS);
    revision = known.applyTo(knowledge, 0);
    expect(take()).toEqual(["a 3", "a no digest", "drained "]);
    known.heard(summary("a", 4, "v2"), NOW_MS);
    expect(wanted(known, NOW_MS + DIGEST_REFRESH_MS)).toEqual([{ pool: "a", known: "" }]);
    known.update(read({ digests: [digest("a", "v2")] }), NOW_MS);
    known.applyTo(knowledge, revision);
    expect(take()).toEqual(["a 4", "a digest"]);
  });

  it("are as many as the directory heeds, and those that were waited for longest come first", () => {
    expect(DIGESTS_HELD_MAX).toBe(DIGESTS_WANTED_MAX);
    const pools = Array.from({ length: DIGESTS_HELD_MAX + 1 }, (_, i) => `p${i}`);
    const known = knownPools(pools);
    known.update(read({ summaries: pools.map((pool) => summary(pool, 1, "v1")) }), NOW_MS);
    known.requested(pools, NOW_MS);
    expect(wanted(known, NOW_MS)).toHaveLength(DIGESTS_HELD_MAX);
    known.update(read({ digests: [digest("p0", "v1")] }), NOW_MS);
    known.update(read({ digests: [digest("p1", "v1")] }), NOW_MS - 1);
    known.heard(summary("p0", 2, "v2"), NOW_MS);
    known.heard(summary("p1", 2, "v2"), NOW_MS);
    const order = wanted(known, NOW_MS + 2 * DIGEST_REFRESH_MS).map(({ pool }) => pool);
    expect(order.slice(-2)).toEqual(["p1", "p0"]);
  });

  it("are read less often the more bytes they have", () => {
    const known = knownPools();
    const bytes = new Uint8Array(2 * DIGEST_BYTES_PER_SECOND * (DIGEST_REFRESH_MS / 1_000));
    known.requested(["a"], NOW_MS);
    wanted(known, NOW_MS);
    known.update(read({ digests: [{ ...digest("a", "v1"), bytes }] }), NOW_MS);
    known.heard(summary("a", 1, "v2"), NOW_MS);
    expect(wanted(known, NOW_MS + 2 * DIGEST_REFRESH_MS - 1)).toEqual([]);
    expect(wanted(known, NOW_MS + 2 * DIGEST_REFRESH_MS)).toHaveLength(1);
  });
});

describe("a table", () => {
  it("is told everything once, and then what has changed", () => {
    const known = knownPools();
    const { knowledge, take } = table();
    known.update(
      read({ summaries: [summary("a", 1), summary("b", 1)], digests: [digest("a", "v1")] }),
      NOW_MS,
    );
    let revision = known.applyTo(knowledge, 0);
    expect(take()).toEqual(["a 1", "a digest", "b 1", "drained "]);
    revision = known.applyTo(knowledge, revision);
    expect(take()).toEqual([]);
    known.heard(summary("b", 2), NOW_MS);
    revision = known.applyTo(knowledge, revision);
    expect(take()).toEqual(["b 2"]);
    known.update(read({ drained: ["a"] }), NOW_MS);
    revision = known.applyTo(knowledge, revision);
    expect(take()).toEqual(["drained a"]);
    known.known(NOW_MS);
    revision = known.applyTo(knowledge, revision);
    expect(take()).toEqual(["a no digest"]);
    known.applyTo(knowledge, 0);
    expect(take()).toEqual(["a 1", "a no digest", "b 2", "drained a"]);
  });

  it("is told of drains that have begun and ended since, once", () => {
    const known = knownPools();
    const { knowledge, take } = table();
    known.update(read({}), NOW_MS);
    let revision = known.applyTo(knowledge, 0);
    take();
    known.update(read({ drained: ["a", "b"] }), NOW_MS);
    known.update(read({ drained: ["b"] }), NOW_MS);
    // Also where it is told all again.
    revision = known.applyTo(knowledge, 0, revision);
    expect(take()).toEqual(["drained b a", "drained b"]);
    known.applyTo(knowledge, 0, revision);
    expect(take()).toEqual(["drained b"]);
    known.update(read({}), NOW_MS);
    known.applyTo(knowledge, revision);
    expect(take()).toEqual(["drained b", "drained "]);
  });

  it("is told when was read last, also where nobody had anything new to say", () => {
    const known = knownPools();
    const { knowledge, readAtMs } = table();
    known.update(read({ summaries: [summary("a", 1)] }), NOW_MS);
    let revision = known.applyTo(knowledge, 0);
    known.heard(summary("a", 2), NOW_MS + 500);
    revision = known.applyTo(knowledge, revision);
    expect(readAtMs()).toBe(NOW_MS);
    known.update(read({}), NOW_MS + 1_000);
    known.update(read({}), NOW_MS + 900);
    known.applyTo(knowledge, revision);
    expect(readAtMs()).toBe(NOW_MS + 1_000);
  });
});

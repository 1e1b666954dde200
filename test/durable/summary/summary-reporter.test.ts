// When summaries are pushed: a reporter with a directory of the test's own, in time that the test passes.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PoolDigest, PoolReported } from "../../../src/durable/directory/contract.ts";
import { DIGEST_INTERVAL_MS, DigestMaker } from "../../../src/durable/summary/digest-maker.ts";
import {
  DIGEST_USED_MS,
  FAILURES_MAX,
  REPORT_DEADLINE_MS,
  SummaryReporter,
} from "../../../src/durable/summary/summary-reporter.ts";
import { BlockTable } from "../../../src/scheduler/kv/block-table.ts";
import {
  type PoolSummary,
  SUMMARY_INTERVAL_MS,
  SUMMARY_MIN_INTERVAL_MS,
} from "../../../src/scheduler/pools/summary.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] }));
afterEach(() => void vi.useRealTimers());

const KNOWN: PoolReported = { wantsDigest: false, isKnown: true };

class Fixture {
  isAwake = true;
  isConfigured = true;
  usable = 1;
  queued = 0;
  answer: () => Promise<PoolReported> = () => Promise.resolve(KNOWN);
  readonly pushes: { atMs: number; summary: PoolSummary; digest: PoolDigest | undefined }[] = [];
  readonly outcomes: string[] = [];
  readonly table = new BlockTable(1024 * 1024);
  open = 0;
  openMax = 0;
  #seq = 0;
  readonly #startMs = Date.now();
  readonly digest: DigestMaker;
  readonly reporter: SummaryReporter;

  constructor() {
    this.digest = new DigestMaker({
      tables: () => [this.table],
      isComplete: () => true,
      clock: () => Date.now(),
      defer: (callback) => void setTimeout(callback, 0),
      incarnation: "i",
      onPublished: () => this.reporter.noticed(),
    });
    this.reporter = new SummaryReporter({
      sink: { report: (summary, digest) => this.#report(summary, digest) },
      clock: () => Date.now(),
      summarize: () => (this.isConfigured ? this.#summary() : undefined),
      digest: this.digest,
      isAwake: () => this.isAwake,
      pushed: (outcome) => this.outcomes.push(outcome),
    });
  }

  get times(): number[] {
    return this.pushes.map(({ atMs }) => atMs);
  }

  pass(ms: number): Promise<unknown> {
    return vi.advanceTimersByTimeAsync(ms);
  }

  async #report(summary: PoolSummary, digest: PoolDigest | undefined): Promise<PoolReported> {
    this.pushes.push({ atMs: Date.now() - this.#startMs, summary, digest });
    this.openMax = Math.max(this.openMax, ++this.open);
    try {
      return await this.answer();
    } finally {
      this.open -= 1;
    }
  }

  #summary(): PoolSummary {
    const signal = { ageMs: 0, endpoints: 2, agents: 1, models: [], adapters: [] };
    return {
      pool: "p",
      incarnation: "i",
      seq: ++this.#seq,
      configVersion: this.queued > 1_000_000 ? 2 : 1,
      membership: { ...signal, usable: this.usable },
      ...(this.digest.published && { digestVersion: this.digest.published.version }),
    };
  }
}

/** Its first words are said: it has pushed its first digest. */
async function settled(): Promise<Fixture> {
  const pool = new Fixture();
  pool.reporter.noticed();
  await pool.pass(2 * DIGEST_INTERVAL_MS);
  pool.pushes.length = 0;
  pool.outcomes.length = 0;
  return pool;
}

describe("SummaryReporter", () => {
  it("pushes each interval while the object is awake, though nothing changes", async () => {
    const pool = await settled();
    await pool.pass(10 * SUMMARY_INTERVAL_MS);
    expect(pool.pushes).toHaveLength(10);
    const gaps = pool.times.slice(1).map((atMs, i) => atMs - pool.times[i]!);
    expect(new Set(gaps)).toEqual(new Set([SUMMARY_INTERVAL_MS]));
    expect(pool.outcomes).toEqual(pool.pushes.map(() => "ok"));
  });

  it("pushes a change at once, and no two within the shortest interval", async () => {
    const pool = await settled();
    await pool.pass(SUMMARY_INTERVAL_MS / 2);
    pool.pushes.length = 0;
    const startMs = Date.now();
    pool.usable = 0;
    pool.reporter.noticed();
    await pool.pass(0);
    expect(pool.pushes).toHaveLength(1);
    for (let i = 0; i < 50; i++) {
      pool.usable = i;
      pool.reporter.noticed();
      await pool.pass(10);
    }
    const passedMs = Date.now() - startMs;
    const gaps = pool.times.slice(1).map((atMs, i) => atMs - pool.times[i]!);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(SUMMARY_MIN_INTERVAL_MS);
    expect(pool.pushes.length).toBeLessThanOrEqual(1 + passedMs / SUMMARY_MIN_INTERVAL_MS);
    expect(pool.pushes.length).toBeGreaterThan(2);
    await pool.pass(SUMMARY_INTERVAL_MS);
    expect(pool.pushes.at(-1)!.summary.membership!.usable).toBe(pool.usable);
  });

  it("does not push sooner for what changes all the time", async () => {
    const pool = await settled();
    for (let i = 0; i < 100; i++) {
      pool.queued = i;
      pool.reporter.noticed();
      await pool.pass(10);
    }
    expect(pool.pushes).toHaveLength(1);
  });

  it("falls silent when nothing happens any more, and tells before how it stands", async () => {
    const pool = await settled();
    pool.isAwake = false;
    pool.usable = 0;
    pool.reporter.noticed();
    await pool.pass(5 * SUMMARY_INTERVAL_MS);
    const count = pool.pushes.length;
    expect(pool.pushes.at(-1)!.summary.membership!.usable).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
    pool.reporter.noticed();
    await pool.pass(0);
    await pool.pass(SUMMARY_INTERVAL_MS);
    expect(pool.pushes.length).toBeGreaterThan(count);
  });

  it("goes on each interval while it is woken in between", async () => {
    const pool = await settled();
    pool.isAwake = false;
    await pool.pass(SUMMARY_INTERVAL_MS);
    pool.pushes.length = 0;
    for (let i = 0; i < 50; i++) {
      pool.reporter.noticed();
      await pool.pass(200);
    }
    expect(pool.pushes.length).toBeGreaterThanOrEqual(9);
  });

  it("has one push under way, and gives one up that takes too long", async () => {
    const pool = await settled();
    pool.answer = () => new Promise(() => undefined);
    await pool.pass(SUMMARY_INTERVAL_MS);
    for (let i = 0; i < 8; i++) {
      pool.usable = i;
      pool.reporter.noticed();
      await pool.pass(100);
    }
    expect(pool.pushes).toHaveLength(1);
    await pool.pass(REPORT_DEADLINE_MS);
    expect(pool.outcomes).toEqual(["failed"]);
    expect(pool.pushes).toHaveLength(2);
  });

  it("calls a directory that is away once an interval, and tells what it missed", async () => {
    const pool = await settled();
    pool.answer = () => Promise.reject(new Error("away"));
    for (let i = 0; i < 100; i++) {
      pool.usable = i;
      pool.reporter.noticed();
      await pool.pass(50);
    }
    expect(pool.pushes.length).toBeLessThanOrEqual(6);
    expect(pool.outcomes).not.toContain("ok");
    pool.answer = () => Promise.resolve(KNOWN);
    await pool.pass(SUMMARY_INTERVAL_MS);
    expect(pool.outcomes.at(-1)).toBe("ok");
    expect(pool.pushes.at(-1)!.summary.membership!.usable).toBe(pool.usable);
  });

  it("gives up after some failures where there is nothing else to do", async () => {
    const pool = await settled();
    pool.isAwake = false;
    pool.answer = () => Promise.reject(new Error("away"));
    pool.reporter.noticed();
    await pool.pass(60_000);
    expect(pool.outcomes.length).toBeGreaterThanOrEqual(FAILURES_MAX);
    expect(pool.outcomes.length).toBeLessThanOrEqual(FAILURES_MAX + 1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("waits as long as the directory asks for, up to a bound", async () => {
    const pool = await settled();
    pool.answer = () => Promise.resolve({ ...KNOWN, pauseMs: 5_000 });
    await pool.pass(21_000);
    expect(pool.pushes.length).toBeGreaterThanOrEqual(4);
    expect(pool.pushes.length).toBeLessThanOrEqual(5);
    pool.answer = () => Promise.resolve({ ...KNOWN, pauseMs: 1e9 });
    await pool.pass(5_000);
    pool.pushes.length = 0;
    await pool.pass(11_000);
    expect(pool.pushes).toHaveLength(1);
  });

  it("sends a digest when it is new or asked for, and no more often than they are made", async () => {
    const pool = await settled();
    await pool.pass(5 * SUMMARY_INTERVAL_MS);
    expect(pool.pushes.filter(({ digest }) => digest !== undefined)).toEqual([]);
    pool.table.setPayload(pool.table.add(1, 2), 1);
    await pool.pass(DIGEST_INTERVAL_MS + SUMMARY_INTERVAL_MS);
    const sent = pool.pushes.flatMap(({ digest }) => (digest === undefined ? [] : [digest]));
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatchObject({ pool: "p", version: pool.digest.published!.version });
    pool.pushes.length = 0;
    pool.answer = () => Promise.resolve({ ...KNOWN, wantsDigest: true });
    await pool.pass(10 * DIGEST_INTERVAL_MS);
    const again = pool.pushes.filter(({ digest }) => digest !== undefined);
    expect(again.length).toBeGreaterThanOrEqual(8);
    expect(again.length).toBeLessThanOrEqual(10);
  });

  it("makes digests while they are used, and for a while after", async () => {
    const pool = new Fixture();
    const add = (key: number) => pool.table.setPayload(pool.table.add(key, 2), 1);
    const digests = () => pool.pushes.filter(({ digest }) => digest !== undefined).length;
    pool.answer = () => Promise.resolve({ ...KNOWN, usesDigest: false });
    pool.reporter.noticed();
    add(1);
    await pool.pass(4 * DIGEST_INTERVAL_MS);
    expect([pool.digest.published, digests(), pool.table.onAdded]).toEqual([
      undefined,
      0,
      undefined,
    ]);
    pool.answer = () => Promise.resolve({ ...KNOWN, usesDigest: true });
    await pool.pass(2 * DIGEST_INTERVAL_MS);
    expect(digests()).toBe(1);
    pool.answer = () => Promise.resolve({ ...KNOWN, usesDigest: false });
    await pool.pass(DIGEST_USED_MS / 2);
    add(2);
    await pool.pass(2 * DIGEST_INTERVAL_MS);
    expect(digests()).toBe(2);
    await pool.pass(DIGEST_USED_MS);
    expect([pool.digest.published, pool.table.onAdded]).toEqual([undefined, undefined]);
    expect(pool.pushes.at(-1)!.summary.digestVersion).toBeUndefined();
    pool.answer = () => Promise.resolve({ ...KNOWN, usesDigest: true });
    await pool.pass(2 * DIGEST_INTERVAL_MS);
    expect(digests()).toBe(3);
  });

  it("sends a digest again that did not arrive", async () => {
    const pool = await settled();
    pool.answer = () => Promise.reject(new Error("away"));
    pool.table.setPayload(pool.table.add(1, 2), 1);
    await pool.pass(DIGEST_INTERVAL_MS + SUMMARY_INTERVAL_MS);
    pool.pushes.length = 0;
    pool.answer = () => Promise.resolve(KNOWN);
    await pool.pass(2 * DIGEST_INTERVAL_MS);
    expect(pool.pushes.filter(({ digest }) => digest !== undefined)).toHaveLength(1);
  });

  it("stops when there is no pool to speak of, and begins again with it", async () => {
    const pool = await settled();
    pool.isConfigured = false;
    await pool.pass(10 * SUMMARY_INTERVAL_MS);
    expect(pool.pushes).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
    pool.isConfigured = true;
    pool.reporter.noticed();
    await pool.pass(SUMMARY_INTERVAL_MS);
    expect(pool.pushes.length).toBeGreaterThan(0);
  });
});

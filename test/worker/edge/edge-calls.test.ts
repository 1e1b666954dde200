// The calls that tell an object what was decided here: one at a time, behind requests.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { EdgeSync, EdgeSynced } from "../../../src/durable/contract.ts";
import {
  EDGE_GATHER_MS,
  EDGE_GATHERS_MAX,
  EdgeCalls,
  GATHERED_COMMITS,
  LEFT_GATHER_MS,
  SYNC_DEADLINE_MS,
  SYNC_RETRY_MS,
  TELL_MS_MAX,
} from "../../../src/worker/edge/edge-calls.ts";
import type { PendingCommit } from "../../../src/worker/edge/outbox.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** An isolate, and an object that answers as `answer` says. */
class Told {
  readonly syncs: EdgeSync[] = [];
  readonly answered: { shown: number }[] = [];
  readonly failed: unknown[] = [];
  readonly held: Promise<void>[] = [];
  readonly untold: number[] = [];
  last = 0;
  answer: () => Promise<EdgeSynced> = async () => ({});
  readonly calls = new EdgeCalls({
    ask: (_, untoldCount) => {
      this.untold.push(untoldCount);
      return { known: { epoch: "e", version: 1 } };
    },
    lastNumber: () => this.last,
    answered: (_, at) => void this.answered.push({ shown: at.shown }),
    failed: (error) => void this.failed.push(error),
    dropped: () => undefined,
  });
  readonly way = {
    port: () => ({
      sync: (sync: EdgeSync) => {
        this.syncs.push(sync);
        return this.answer();
      },
    }),
    hold: (work: Promise<void>) => void this.held.push(work),
  };

  commit(): void {
    const number = ++this.last;
    const commit = { ticket: `t${number}`, keys: new Uint32Array(2) };
    const pending = { number, decidedAtMs: Date.now(), commit } as unknown as PendingCommit;
    this.calls.commit(pending, this.way);
  }

  get tickets(): string[][] {
    return this.syncs.map(({ commits }) => commits.map(({ ticket }) => ticket));
  }
}

const after = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("commits", () => {
  it("of a moment go in one call, with how long ago they were", async () => {
    const told = new Told();
    told.commit();
    await after(EDGE_GATHER_MS - 1);
    told.commit();
    await after(EDGE_GATHER_MS);
    expect(told.syncs).toEqual([]);
    await after(1);
    expect(told.tickets).toEqual([["t1", "t2"]]);
    expect(told.syncs[0]!.commits.map(({ decidedAgoMs }) => decidedAgoMs)).toEqual([
      2 * EDGE_GATHER_MS,
      EDGE_GATHER_MS + 1,
    ]);
    expect(told.answered).toEqual([{ shown: 2 }]);
    expect(told.held).toHaveLength(1);
  });

  it("wait as long as more come, but no longer than is worth it", async () => {
    const told = new Told();
    told.commit();
    for (let gathers = 1; gathers < EDGE_GATHERS_MAX; gathers++) {
      await after(EDGE_GATHER_MS - 1);
      told.commit();
      await after(1);
      expect(told.syncs).toEqual([]);
    }
    await after(EDGE_GATHER_MS - 1);
    told.commit();
    await after(1);
    expect(told.tickets).toEqual([["t1", "t2", "t3", "t4"]]);
  });

  it("go at once where they are many", async () => {
    const told = new Told();
    told.commit();
    await after(1);
    for (let count = 1; count < GATHERED_COMMITS; count++) told.commit();
    await after(EDGE_GATHER_MS - 1);
    expect(told.tickets[0]).toHaveLength(GATHERED_COMMITS);
  });

  it("alone goes alone, and is not kept waiting", async () => {
    const told = new Told();
    told.commit();
    await after(EDGE_GATHER_MS);
    expect(told.tickets).toEqual([["t1"]]);
  });

  it("that come while a call is under way go with the next, by the same request", async () => {
    const told = new Told();
    const slow = Promise.withResolvers<EdgeSynced>();
    told.answer = () => slow.promise;
    told.commit();
    await after(EDGE_GATHER_MS);
    told.commit();
    await after(50);
    expect([told.tickets, told.calls.shownNow(), told.held.length]).toEqual([[["t1"]], 0, 1]);
    told.answer = async () => ({});
    slow.resolve({});
    await after(EDGE_GATHER_MS);
    expect(told.tickets).toEqual([["t1"], ["t2"]]);
    // The first snapshot shows the first only.
    expect(told.answered).toEqual([{ shown: 1 }, { shown: 2 }]);
    expect(told.held).toHaveLength(1);
    told.commit();
    expect(told.held).toHaveLength(2);
  });

  it("are told again where a call fails, until it does not", async () => {
    const told = new Told();
    told.answer = () => Promise.reject(new Error("away"));
    told.commit();
    await after(EDGE_GATHER_MS);
    expect([told.failed.length, told.calls.untoldCount, told.calls.shownNow()]).toEqual([1, 1, 0]);
    told.commit();
    told.answer = async () => ({});
    await after(SYNC_RETRY_MS);
    expect(told.tickets).toEqual([["t1"], ["t1", "t2"]]);
    expect([told.calls.untoldCount, told.held.length]).toEqual([0, 1]);
  });

  it("go on waiting for the next request where one has tried for long enough", async () => {
    const told = new Told();
    told.answer = () => Promise.reject(new Error("away"));
    told.commit();
    await after(TELL_MS_MAX + SYNC_RETRY_MS);
    const count = told.syncs.length;
    await after(60_000);
    expect(told.syncs).toHaveLength(count);
    told.answer = async () => ({});
    told.commit();
    await after(EDGE_GATHER_MS);
    expect(told.tickets.at(-1)).toEqual(["t1", "t2"]);
  });

  it("are taken over where the context that told them has ended", async () => {
    const told = new Told();
    told.answer = () => new Promise(() => undefined);
    told.commit();
    // Its timers are gone with it.
    vi.clearAllTimers();
    told.commit();
    expect(told.held).toHaveLength(1);
    vi.setSystemTime(Date.now() + SYNC_DEADLINE_MS + 2 * SYNC_RETRY_MS);
    told.answer = async () => ({});
    told.commit();
    expect(told.held).toHaveLength(2);
    await after(EDGE_GATHER_MS);
    expect(told.tickets).toEqual([["t1", "t2", "t3"]]);
  });

  it("are told again where the context ended while they were under way", async () => {
    const told = new Told();
    told.answer = () => new Promise(() => undefined);
    told.commit();
    await after(EDGE_GATHER_MS);
    expect(told.tickets).toEqual([["t1"]]);
    vi.clearAllTimers();
    expect([told.calls.untoldCount, told.calls.shownNow()]).toEqual([1, 0]);
    vi.setSystemTime(Date.now() + SYNC_DEADLINE_MS + 2 * SYNC_RETRY_MS);
    told.answer = async () => ({});
    told.commit();
    await after(EDGE_GATHER_MS);
    expect(told.tickets).toEqual([["t1"], ["t1", "t2"]]);
    expect(told.answered).toEqual([{ shown: 2 }]);
    // What goes with the call is told.
    expect(told.untold).toEqual([0, 0]);
    expect([told.calls.untoldCount, told.calls.shownNow()]).toEqual([0, 2]);
  });

  it("are told once more where the answer comes after another has taken over", async () => {
    const told = new Told();
    const late = Promise.withResolvers<EdgeSynced>();
    told.answer = () => late.promise;
    told.commit();
    await after(EDGE_GATHER_MS);
    // Its context sleeps, and is not gone.
    vi.setSystemTime(Date.now() + SYNC_DEADLINE_MS + 2 * SYNC_RETRY_MS);
    told.answer = async () => ({});
    told.commit();
    late.resolve({});
    await after(EDGE_GATHER_MS);
    expect(told.tickets).toEqual([["t1"], ["t1", "t2"]]);
    expect([told.calls.untoldCount, told.calls.shownNow()]).toEqual([0, 2]);
  });

  it("have the answer disposed, in time or not", async () => {
    const told = new Told();
    let disposed = 0;
    const answer = () => ({ [Symbol.dispose]: () => void (disposed += 1) }) as EdgeSynced;
    told.answer = async () => answer();
    told.commit();
    await after(EDGE_GATHER_MS);
    expect(disposed).toBe(1);
    const late = Promise.withResolvers<EdgeSynced>();
    told.answer = () => late.promise;
    told.commit();
    await after(EDGE_GATHER_MS + SYNC_DEADLINE_MS);
    late.resolve(answer());
    await after(1);
    expect([disposed, told.answered.length]).toEqual([2, 1]);
  });

  it("wait for no answer for ever", async () => {
    const told = new Told();
    told.answer = () => new Promise(() => undefined);
    told.commit();
    await after(EDGE_GATHER_MS + SYNC_DEADLINE_MS);
    expect(told.failed).toHaveLength(1);
  });
});

describe("ends", () => {
  const end = (how: string) => ({ ticket: "t1", attempt: 1, how });

  it("of answers wait for a commit to go with, but not for ever", async () => {
    const told = new Told();
    told.calls.end(end("left"), told.way);
    await after(EDGE_GATHER_MS);
    expect(told.syncs).toEqual([]);
    told.commit();
    await after(EDGE_GATHER_MS);
    expect(told.syncs).toMatchObject([{ commits: [{ ticket: "t1" }], ends: [end("left")] }]);
    await after(LEFT_GATHER_MS);
    expect(told.syncs).toHaveLength(1);
    told.calls.end(end("left"), told.way);
    await after(LEFT_GATHER_MS);
    expect(told.syncs).toHaveLength(2);
  });

  it("that free an endpoint wait no longer than commits", async () => {
    const told = new Told();
    told.calls.end(end("left"), told.way);
    told.calls.end(end("relay-unreachable"), told.way);
    await after(EDGE_GATHER_MS);
    expect(told.syncs[0]!.ends).toEqual([end("left"), end("relay-unreachable")]);
  });
});

describe("a renewal", () => {
  it("is one call without commits, and begun by one request", async () => {
    const told = new Told();
    told.calls.begin(told.way, Date.now());
    told.calls.begin(told.way, Date.now());
    await after(EDGE_GATHER_MS + 1_000);
    expect(told.syncs).toEqual([{ known: { epoch: "e", version: 1 }, commits: [], ends: [] }]);
  });

  it("says what credit is spent that the object does not know of", async () => {
    const told = new Told();
    for (let i = 0; i < 257; i++) told.commit();
    await after(EDGE_GATHER_MS);
    expect([told.untold[0], told.syncs[0]!.commits.length]).toEqual([1, 256]);
  });
});

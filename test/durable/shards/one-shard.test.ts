// What one of a pool's objects takes the pool to be, and what it says and grants by that.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ShardAnswer, ShardTold } from "../../../src/durable/shards/contract.ts";
import { NO_LOADS, packLoads, unpackLoads } from "../../../src/durable/shards/endpoint-loads.ts";
import { SHARD_LEASE_MS } from "../../../src/durable/shards/members.ts";
import { WAKING_PICKS_MAX } from "../../../src/durable/shards/pool-shards.ts";
import {
  PRESSED_MS,
  TELL_DEADLINE_MS,
  TELL_EVERY_MS,
} from "../../../src/durable/shards/shard-exchange.ts";
import { QUIET_MS } from "../../../src/durable/shards/shard-lead.ts";
import { ADDRESS, ModelShard } from "./model-shard.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

const NOTHING: ShardTold = {
  shard: 1,
  epoch: "s1",
  seq: 1,
  count: 2,
  mapVersion: 0,
  isLeaving: false,
  wantsAll: true,
  samples: [],
  loads: NO_LOADS,
  prefill: [],
  work: [],
  service: [],
};

function leadOf(count: number, capacity: number) {
  const lead = new ModelShard({
    index: 0,
    count,
    capacity,
    kept: { count, version: 3, splits: [] },
  });
  let seq = 0;
  /** Another shard tells it that it has so many requests there. */
  const hear = (shard: number, requests: number, more: Partial<ShardTold> = {}) =>
    lead.shards.told({
      shard,
      epoch: `s${shard}`,
      seq: ++seq,
      count,
      mapVersion: 4,
      isLeaving: false,
      wantsAll: true,
      samples: [],
      loads: packLoads([[ADDRESS, { requests, tokens: requests, unseen: 0 }]]),
      prefill: [],
      work: [],
      service: [],
      ...more,
    });
  return { lead, hear };
}

const ask = (shard: number, want: number) => ({
  waiting: want,
  credit: { scope: "pool/p", holder: `s${shard}`, epoch: "s0.1", spent: 0, want },
});

describe("a lead that has begun anew", () => {
  it("grants by what all have told, also before it has granted itself anything", async () => {
    const { lead, hear } = leadOf(4, 40);
    const limits: number[] = [];
    // Its own words, each PRESSED_MS after the first of another, come a while after the quiet time has ended.
    await pass(30);
    // Three have their whole share under way; what is left is the lead's own.
    for (let atMs = 0; atMs < 2 * QUIET_MS; atMs += 20) {
      const { credit } = hear(1 + ((atMs / 20) % 3), 10, ask(1 + ((atMs / 20) % 3), 30))!;
      if (credit !== undefined) limits.push(credit.limit);
      await pass(20);
    }
    expect(limits.length).toBeGreaterThan(100);
    // Half of the room at most, which is ten.
    expect(Math.max(...limits)).toBeLessThanOrEqual(5);
    expect(lead.seen).toBe(30);
  });
});

describe("the loads of others", () => {
  it("are gone soon after the last of them, where the pool is one object again", async () => {
    const { lead, hear } = leadOf(2, 40);
    lead.configure(1);
    lead.own = 1;
    for (let atMs = 0; atMs < 2 * QUIET_MS; atMs += TELL_EVERY_MS) {
      hear(1, 7);
      await pass(TELL_EVERY_MS);
    }
    expect(lead.seen).toBe(7);
    await pass(2 * SHARD_LEASE_MS + TELL_EVERY_MS);
    expect(lead.seen).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("are gone from a shard that has had nothing to do for a while", async () => {
    const told: ShardTold[] = [];
    const others = packLoads([[ADDRESS, { requests: 7, tokens: 7, unseen: 0 }]]);
    const tellLead = async (each: ShardTold) => {
      told.push(each);
      const credit = { scope: "pool/p", epoch: "lead", seq: told.length, limit: 9, ttlMs: 2_000 };
      return { epoch: "lead", loads: others, prefill: [], work: [], service: [], credit };
    };
    const shard = new ModelShard({ index: 1, count: 2, capacity: 40, tellLead });
    shard.request();
    await pass(0);
    shard.ended(1);
    await pass(2 * TELL_EVERY_MS);
    expect(told.at(-1)).toMatchObject({ isLeaving: true, loads: NO_LOADS });
    expect(shard.seen).toBe(7);
    await pass(SHARD_LEASE_MS);
    expect(shard.seen).toBe(0);
  });
});

describe("an object that leads no pool", () => {
  it("does not take what it is told", async () => {
    const { lead, hear } = leadOf(2, 40);
    expect(hear(1, 7)).toBeDefined();
    lead.retire();
    expect(hear(1, 7)).toBeUndefined();
    expect(lead.seen).toBe(0);
    const other = new ModelShard({ index: 1, count: 2, capacity: 40 });
    expect(other.shards.told({ ...NOTHING, shard: 0 })).toBeUndefined();
    await pass(60_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("says no last word to itself when it goes in the middle of a message", async () => {
    const { lead } = leadOf(2, 40);
    lead.request();
    // The message is composed in a turn of its own, and answered later in that.
    vi.advanceTimersByTime(0);
    lead.retire();
    await pass(10_000);
    expect(lead.told("failed")).toBe(0);
    expect(lead.told("ok")).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a shard of a full pool", () => {
  it("asks for credit no more often than all tell while requests wait", async () => {
    const { lead } = leadOf(4, 8);
    for (let i = 0; i < 20; i++) lead.request();
    await pass(2 * QUIET_MS);
    const before = lead.told("ok");
    await pass(1_000);
    expect(lead.told("ok") - before).toBeLessThanOrEqual(1_000 / PRESSED_MS);
    expect(lead.told("ok") - before).toBeGreaterThan(5);
  });

  it("asks no more often of a lead that is away", async () => {
    let asked = 0;
    const tellLead = async () => {
      asked += 1;
      if (asked > 1) throw new Error("away");
      const credit = { scope: "pool/p", epoch: "lead", seq: 1, limit: 2, ttlMs: 2_000 };
      return { epoch: "lead", loads: NO_LOADS, prefill: [], work: [], service: [], credit };
    };
    const shard = new ModelShard({ index: 1, count: 2, capacity: 40, tellLead });
    shard.request();
    await pass(TELL_EVERY_MS / 2);
    for (let i = 0; i < 20; i++) shard.request();
    for (let atMs = 0; atMs < 500; atMs += 5) {
      shard.drain();
      await pass(5);
    }
    expect(asked).toBeLessThanOrEqual(2 + 500 / PRESSED_MS);
    expect(asked).toBeGreaterThan(5);
  });

  it("asks at once for each time that its credit is used up", async () => {
    const asked: number[] = [];
    const tellLead = async () => {
      asked.push(Date.now());
      const limit = asked.length;
      const credit = { scope: "pool/p", epoch: "lead", seq: limit, limit, ttlMs: 2_000 };
      return { epoch: "lead", loads: NO_LOADS, prefill: [], work: [], service: [], credit };
    };
    const shard = new ModelShard({ index: 1, count: 2, capacity: 40, tellLead });
    for (let i = 0; i < 60; i++) shard.request();
    await pass(TELL_EVERY_MS);
    expect(asked.length).toBeGreaterThan(15);
  });
});

describe("an object of the version before, which does not tell of prefill in tokens", () => {
  const { prefill: _, ...before } = NOTHING;
  const loads = packLoads([[ADDRESS, { requests: 7, tokens: 7, unseen: 0 }]]);

  it("is heard by a lead, and finds what it reads in the answer", () => {
    const { lead, hear } = leadOf(3, 40);
    expect(lead.shards.told({ ...before, loads })).toMatchObject({ work: [] });
    expect(unpackLoads(hear(2, 1)!.loads).get(ADDRESS)?.requests).toBe(7);
  });

  it("is heard as a lead, and finds what it reads in what it is told", async () => {
    const told: ShardTold[] = [];
    const tellLead = async (each: ShardTold) => {
      told.push(each);
      const credit = { scope: "pool/p", epoch: "lead", seq: told.length, limit: 9, ttlMs: 2_000 };
      return { epoch: "lead", loads, work: [], service: [], credit };
    };
    const shard = new ModelShard({ index: 1, count: 2, capacity: 40, tellLead });
    shard.request();
    await pass(TELL_EVERY_MS / 2);
    expect(told[0]).toMatchObject({ work: [] });
    expect(shard.told("failed")).toBe(0);
    expect([shard.seen, shard.waiting]).toEqual([8, 0]);
  });
});

describe("a shard that does not know what the others were granted", () => {
  const answer = { epoch: "lead", loads: NO_LOADS, prefill: [], work: [], service: [] };
  /** Answers take 40 ms. */
  const createShard = (creditOf: (told: ShardTold) => ShardAnswer["credit"]) => {
    const told: ShardTold[] = [];
    const tellLead = async (each: ShardTold) => {
      told.push(each);
      await new Promise((done) => setTimeout(done, 40));
      const credit = creditOf(each);
      return credit === undefined ? answer : { ...answer, credit };
    };
    return { told, shard: new ModelShard({ index: 1, count: 2, capacity: 40, tellLead }) };
  };
  const untilLastWord = async (told: readonly ShardTold[]) => {
    while (told.at(-1)?.isLeaving !== true) await pass(1);
  };

  it.for([
    ["while its last word is on its way", 0],
    ["after its last word was heard", 41],
  ] as const)("lets nothing through %s, before the lead has answered", async ([, laterMs]) => {
    const { told, shard } = createShard(() => undefined);
    shard.request();
    await pass(40);
    expect(shard.own).toBe(1);
    shard.request();
    expect(shard.own).toBe(2);
    shard.ended(2);
    await untilLastWord(told);
    await pass(laterMs);
    shard.request();
    expect([shard.own, shard.waiting]).toEqual([0, 1]);
    await pass(2 * TELL_EVERY_MS);
    expect([shard.own, shard.waiting]).toEqual([1, 0]);
  });

  it("lets nothing through when it hears that there is another lead, before that has answered again", async () => {
    let epoch = "lead 1";
    let seq = 0;
    const { told, shard } = createShard(() => {
      const limit = told.at(-1)!.credit!.spent + 5;
      return { scope: "pool/p", epoch, seq: ++seq, limit, ttlMs: 2_000 };
    });
    shard.request();
    await pass(40);
    expect(shard.own).toBe(1);
    shard.ended(1);
    await pass(10_000);
    epoch = "lead 2";
    const before = told.length;
    shard.request();
    let isAwake = false;
    void shard.shards.awake()!.then(() => (isAwake = true));
    await pass(45);
    expect([shard.own, shard.waiting, isAwake]).toEqual([0, 1, false]);
    await pass(40);
    expect(told.length - before).toBe(2);
    expect([shard.own, shard.waiting, isAwake]).toEqual([1, 0, true]);
  });
});

describe("who cannot wait in a queue", () => {
  const answer = { epoch: "lead", loads: NO_LOADS, prefill: [], work: [], service: [] };
  const createShard = (tellLead: (told: ShardTold) => Promise<ShardAnswer>) => {
    const shard = new ModelShard({ index: 1, count: 2, capacity: 40, tellLead });
    const heard: boolean[] = [];
    const waitToWake = () =>
      shard.shards.awake()?.then(() => void heard.push(shard.shards.isThere()));
    return { shard, heard, waitToWake };
  };

  it("waits for the lead's word at a shard that wakes, and is told of to the lead", async () => {
    const told: ShardTold[] = [];
    const { shard, heard, waitToWake } = createShard(async (each) => {
      told.push(each);
      await new Promise((done) => setTimeout(done, 40));
      const credit = { scope: "pool/p", epoch: "lead", seq: told.length, limit: 9, ttlMs: 2_000 };
      return { ...answer, credit };
    });
    for (let i = 0; i < 3; i++) void waitToWake();
    await pass(39);
    expect(heard).toEqual([]);
    await pass(1);
    expect(heard).toEqual([true, true, true]);
    expect(told.map(({ credit }) => credit?.want)).toEqual([3]);
    expect(shard.shards.awake()).toBeUndefined();
    // And again after a silence.
    await pass(10_000);
    expect(shard.shards.isThere()).toBe(false);
    void waitToWake();
    await pass(40);
    expect(heard.length).toBe(4);
  });

  it("waits no longer than for a message that nobody answers", async () => {
    const { heard, waitToWake } = createShard(() => new Promise(() => undefined));
    void waitToWake();
    await pass(TELL_DEADLINE_MS - 1);
    expect(heard).toEqual([]);
    await pass(1);
    expect(heard).toEqual([true]);
  });

  it("waits no more in a pool of one object, nor beside more than a bound", async () => {
    const { shard, heard, waitToWake } = createShard(() => new Promise(() => undefined));
    for (let i = 0; i < WAKING_PICKS_MAX; i++) void waitToWake();
    expect(shard.shards.awake()).toBeUndefined();
    shard.retire();
    await pass(0);
    expect(heard.length).toBe(WAKING_PICKS_MAX);
    expect(shard.shards.awake()).toBeUndefined();
  });
});

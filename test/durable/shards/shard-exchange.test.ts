// When a shard speaks to its lead, and what becomes of answers that fail, come late or are not wanted any more.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ShardAnswer } from "../../../src/durable/shards/contract.ts";
import { NO_LOADS } from "../../../src/durable/shards/endpoint-loads.ts";
import { RESERVED_MS, SHARD_LEASE_MS } from "../../../src/durable/shards/members.ts";
import {
  LAST_WORDS_MAX,
  ShardExchange,
  TELL_DEADLINE_MS,
  TELL_EVERY_MS,
} from "../../../src/durable/shards/shard-exchange.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

function createExchange() {
  const world = { isBusy: false, isLost: false, delayMs: 0, isTaken: true };
  /** True: a last word. */
  const words: boolean[] = [];
  const counts = { answered: 0, disposed: 0, silent: 0, failed: 0 };
  const answer = (): ShardAnswer & Disposable => ({
    epoch: "lead",
    loads: NO_LOADS,
    prefill: [],
    work: [],
    service: [],
    [Symbol.dispose]: () => void counts.disposed++,
  });
  const exchange = new ShardExchange({
    clock: Date.now,
    tell: async (isLeaving) => {
      words.push(isLeaving);
      if (world.isLost) throw new Error("lost");
      if (world.delayMs > 0) await new Promise((done) => setTimeout(done, world.delayMs));
      return answer();
    },
    isBusy: () => world.isBusy,
    answered: () => {
      counts.answered += 1;
      if (!world.isTaken) throw new Error("not to be taken");
    },
    silent: () => void counts.silent++,
    told: (outcome) => void (outcome === "failed" && counts.failed++),
  });
  return { exchange, world, words, counts };
}

describe("the exchange of a shard", () => {
  it("says a last word, and takes back what it was told when that has had its time", async () => {
    const { exchange, words, counts } = createExchange();
    exchange.noticed();
    await pass(TELL_EVERY_MS);
    expect(words).toEqual([false, true]);
    await pass(SHARD_LEASE_MS - 1);
    expect(counts.silent).toBe(0);
    await pass(1);
    expect(counts.silent).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("says a last word again that was not heard, until it is", async () => {
    const { exchange, world, words, counts } = createExchange();
    exchange.noticed();
    await pass(0);
    world.isLost = true;
    await pass(2_000);
    expect(words).toEqual([false, true, true, true]);
    world.isLost = false;
    await pass(10_000);
    expect(words).toEqual([false, true, true, true, true]);
    // While it was not heard, and after the answer to its last word.
    expect(counts.silent).toBe(2);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gives a last word up when the lead keeps nothing for it any more", async () => {
    const { exchange, world, words } = createExchange();
    exchange.noticed();
    await pass(0);
    world.isLost = true;
    await pass(RESERVED_MS / 2);
    expect(words.length).toBeLessThan(1 + LAST_WORDS_MAX);
    await pass(RESERVED_MS);
    expect(words.length).toBe(1 + LAST_WORDS_MAX);
    await pass(10 * RESERVED_MS);
    expect(words.length).toBe(1 + LAST_WORDS_MAX);
    expect(vi.getTimerCount()).toBe(0);
    // Whatever happens then is told as ever.
    world.isLost = false;
    exchange.noticed();
    await pass(TELL_EVERY_MS);
    expect(words.slice(1 + LAST_WORDS_MAX)).toEqual([false, true]);
  });

  it("disposes of each answer, also of one that comes late or that cannot be taken", async () => {
    const { exchange, world, counts } = createExchange();
    world.delayMs = TELL_DEADLINE_MS + 50;
    exchange.noticed();
    await pass(TELL_DEADLINE_MS);
    expect(counts).toMatchObject({ answered: 0, failed: 1, disposed: 0 });
    world.delayMs = 0;
    await pass(TELL_EVERY_MS);
    expect(counts).toMatchObject({ answered: 1, disposed: 2 });
    world.isTaken = false;
    exchange.noticed();
    await pass(TELL_EVERY_MS);
    expect(counts.answered).toBeGreaterThan(1);
    expect(counts.disposed).toBe(1 + counts.answered);
  });

  it("does nothing more once it is stopped, whatever was under way", async () => {
    const { exchange, world, words, counts } = createExchange();
    world.isBusy = true;
    world.delayMs = 100;
    exchange.noticed();
    await pass(50);
    world.isBusy = false;
    exchange.stop();
    await pass(10_000);
    expect(words).toEqual([false]);
    expect(counts).toMatchObject({ answered: 0, disposed: 1 });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("begins anew at once after a stop, and hears nothing that was said before", async () => {
    const { exchange, world, words, counts } = createExchange();
    world.isBusy = true;
    world.delayMs = 100;
    exchange.noticed();
    await pass(TELL_EVERY_MS + 50);
    exchange.stop();
    expect(counts).toMatchObject({ answered: 1, silent: 1 });
    exchange.noticed();
    await pass(TELL_EVERY_MS - 50);
    expect(words.length).toBe(3);
    expect(counts.answered).toBe(1);
    await pass(100);
    expect(counts.answered).toBe(2);
  });
});

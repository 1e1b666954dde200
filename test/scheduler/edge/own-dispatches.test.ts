// What an isolate counts of its own, within bounds.

import { describe, expect, it } from "vitest";
import {
  OWN_DISPATCH_COUNTS_MS,
  OWN_DISPATCHES_MAX,
  OwnDispatches,
} from "../../../src/scheduler/edge/own-dispatches.ts";
import { OwnRate } from "../../../src/scheduler/edge/own-rate.ts";
import { RECENT_PREFIXES_MS, RecentPrefixes } from "../../../src/scheduler/edge/recent-prefixes.ts";
import { pathOf } from "./pool-object.ts";

const DISPATCH = { slot: 1, tokens: 10, prompt: { promptTokens: 5, uncachedTokens: 5 }, atMs: 0 };

describe("OwnDispatches", () => {
  it("drops what a snapshot shows, and what is too old for it", () => {
    const own = new OwnDispatches();
    const numbers = [0, 1, 2, 3].map((atMs) => own.add({ ...DISPATCH, atMs }));
    own.shown(numbers[1]!, 100);
    expect([...own.all()].map(({ atMs }) => atMs)).toEqual([2, 3]);
    own.shown(0, OWN_DISPATCH_COUNTS_MS + 3);
    expect([...own.all()].map(({ atMs }) => atMs)).toEqual([3]);
    expect(own.take(numbers[3]!)).toMatchObject({ atMs: 3 });
    expect(own.take(numbers[3]!)).toBeUndefined();
  });

  it("keeps what the object is asked about until the answer, or until that is too late", () => {
    const own = new OwnDispatches();
    const asked = own.add({ ...DISPATCH, isProposed: true });
    const given = own.add({ ...DISPATCH, isProposed: true });
    const sent = own.add(DISPATCH);
    own.shown(sent, 100);
    expect([...own.all()]).toHaveLength(2);
    expect(own.take(asked)).toMatchObject({ isProposed: true });
    own.shown(0, OWN_DISPATCH_COUNTS_MS + 1);
    expect(own.take(given)).toBeUndefined();
  });

  it("counts so many, and then forgets the oldest", () => {
    const own = new OwnDispatches();
    for (let n = 0; n <= OWN_DISPATCHES_MAX; n++) own.add({ ...DISPATCH, atMs: n });
    expect([...own.all()]).toHaveLength(OWN_DISPATCHES_MAX);
    expect([...own.all()][0]).toMatchObject({ atMs: 1 });
    expect(own.last).toBe(OWN_DISPATCHES_MAX + 1);
  });

  it("forgets an endpoint", () => {
    const own = new OwnDispatches();
    own.add(DISPATCH);
    own.add({ ...DISPATCH, slot: 2 });
    own.forget(1);
    expect([...own.all()]).toEqual([{ ...DISPATCH, slot: 2 }]);
  });
});

describe("OwnRate", () => {
  it("is about what was sent in the last seconds", () => {
    const rate = new OwnRate();
    for (let atMs = 0; atMs <= 20_000; atMs += 100) rate.count(atMs);
    expect(rate.perS(20_000)).toBeCloseTo(10, -0.5);
    expect(rate.perS(40_000)).toBeLessThan(0.01);
  });
});

describe("RecentPrefixes", () => {
  const keys = pathOf(1, 10);
  const matchAt = (recent: RecentPrefixes, nowMs: number) => {
    const matched = new Int32Array(8);
    recent.raise(keys, matched, nowMs);
    return matched[3];
  };

  it("knows what was sent for half of its lifetime at least, and never longer than all of it", () => {
    for (let before = 0; before < RECENT_PREFIXES_MS; before += 1_000) {
      const recent = new RecentPrefixes();
      recent.learn(pathOf(2, 1), 0, 0);
      recent.learn(keys, 3, before);
      expect(matchAt(recent, before + RECENT_PREFIXES_MS / 2 - 1)).toBe(10);
      expect(matchAt(recent, before + RECENT_PREFIXES_MS)).toBe(0);
    }
  });

  it("raises what is known already, and never lowers it", () => {
    const recent = new RecentPrefixes();
    recent.learn(keys, 3, 0);
    const matched = Int32Array.of(4, 0, 0, 12);
    recent.raise(keys, matched, 1);
    expect(matched).toEqual(Int32Array.of(4, 0, 0, 12));
  });

  it("forgets an endpoint", () => {
    const recent = new RecentPrefixes();
    recent.learn(keys, 3, 0);
    recent.forget(3);
    expect(matchAt(recent, 1)).toBe(0);
  });
});

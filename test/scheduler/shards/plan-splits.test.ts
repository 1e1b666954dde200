import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ShardMap, SPLITS_MAX } from "../../../src/scheduler/shards/contracts.ts";
import { type PromptSample, sampleOf } from "../../../src/scheduler/shards/hot-roots.ts";
import {
  ADDED_MAX,
  COLD_MS,
  loadsOf,
  PLAN_SAMPLES_MIN,
  SplitPlanner,
} from "../../../src/scheduler/shards/plan-splits.ts";
import { prepareShards, shardOf } from "../../../src/scheduler/shards/shard-of.ts";
import { hitRate, plannedMap } from "./simulated-caches.ts";
import { createTraffic, type Traffic } from "./traffic.ts";

const SAMPLES = 1_500;

function samplesOf(next: () => Uint32Array, count = SAMPLES): PromptSample[] {
  return Array.from({ length: count }, () => sampleOf(next(), 1));
}

/** Plans every ten seconds on what came in the last minute. */
function planned(count: number, next: () => Uint32Array, rounds = 12) {
  const planner = new SplitPlanner();
  const maps: ShardMap[] = [{ count, version: 0, splits: [] }];
  for (let round = 0; round < rounds; round++) {
    maps.push(planner.plan(maps.at(-1)!, samplesOf(next), round * 10_000));
  }
  return { planner, maps, map: maps.at(-1)! };
}

/** The busiest shard's share of requests that the plan has not seen. */
function busiestShare(map: ShardMap, next: () => Uint32Array): number {
  const shards = prepareShards(map);
  const counts = new Float64Array(map.count);
  for (let i = 0; i < 10_000; i++) counts[shardOf(next(), shards, i)]! += 1;
  return Math.max(...counts) / 10_000;
}

const chat: Traffic = {
  sharedBlocks: 0,
  conversations: 4_000,
  zipf: 0,
  turnBlocks: 4,
  turnsMax: 8,
};

describe("a plan", () => {
  describe.each([2, 4, 8, 16])("for %i shards", (count) => {
    it.each<[string, Traffic]>([
      ["that all share their first block", { ...chat, sharedBlocks: 1 }],
      ["that all share their first 8 blocks", { ...chat, sharedBlocks: 8 }],
      ["that all share their first 40 blocks", { ...chat, sharedBlocks: 40 }],
      ["that all share their first 200 blocks", { ...chat, sharedBlocks: 200 }],
      ["of conversations as popular as by Zipf", { ...chat, sharedBlocks: 8, zipf: 0.9 }],
      ["of a few roots", { ...chat, sharedBlocks: 12, roots: 5 }],
      ["that are a few prompts again and again", { ...chat, conversations: 6, turnsMax: 1 }],
      ["that are all the same", { ...chat, conversations: 1, sharedBlocks: 5, turnsMax: 1 }],
    ])("spreads prompts %s", (_name, traffic) => {
      const next = createTraffic(traffic, 3);
      const { map } = planned(count, next);
      expect(busiestShare(map, next)).toBeLessThan((1 / count) * 1.15 + 0.04);
      expect(map.splits.length).toBeLessThanOrEqual(SPLITS_MAX);
    });
  });

  it("needs one split where prompts part at one place", () => {
    const { map } = planned(4, createTraffic({ ...chat, sharedBlocks: 40 }, 5));
    expect(map.splits).toHaveLength(1);
    expect(map.splits[0]![2]).toBe(40);
    expect(map.version).toBe(1);
  });

  it("leaves even traffic as it is", () => {
    const { map } = planned(4, createTraffic(chat, 5));
    expect(map).toEqual({ count: 4, version: 0, splits: [] });
  });

  it("is made in steps, few where nothing has to change", () => {
    const stepsOf = (map: ShardMap, samples: readonly PromptSample[]) => {
      const steps = new SplitPlanner().steps(map, samples, 0);
      let count = 1;
      for (; steps.next().done !== true; count++);
      return count;
    };
    const none: ShardMap = { count: 8, version: 0, splits: [] };
    // One look at all samples, by parts.
    expect(stepsOf(none, samplesOf(createTraffic(chat, 5), 2_048))).toBe(9);
    const samples = samplesOf(createTraffic({ ...chat, sharedBlocks: 200 }, 5), 2_048);
    expect(stepsOf(none, samples)).toBeGreaterThan(50);
    const settled = new SplitPlanner().plan(none, samples, 0);
    expect(settled.splits).not.toEqual([]);
    expect(stepsOf(settled, samples)).toBe(9);
  });

  it("goes through a beginning that hardly anybody leaves early", () => {
    const next = createTraffic({ ...chat, sharedBlocks: 20 }, 9);
    const odd = createTraffic({ ...chat, sharedBlocks: 20 }, 10);
    let i = 0;
    const mixed = () => {
      const keys = next();
      if (++i % 50 !== 0) return keys;
      const other = odd();
      // The same first three blocks, and then something else.
      for (let at = 6; at < other.length; at++) other[at] = other[at]! ^ i;
      return other;
    };
    const { map } = planned(4, mixed);
    expect(map.splits).toHaveLength(1);
    expect(map.splits[0]![2]).toBe(20);
  });

  it("settles, whatever the traffic", () => {
    fc.assert(
      fc.property(
        fc.record({
          sharedBlocks: fc.integer({ min: 0, max: 60 }),
          conversations: fc.integer({ min: 1, max: 500 }),
          zipf: fc.double({ min: 0, max: 1.5, noNaN: true }),
          turnBlocks: fc.integer({ min: 1, max: 6 }),
          turnsMax: fc.integer({ min: 1, max: 6 }),
          roots: fc.integer({ min: 1, max: 6 }),
        }),
        fc.integer({ min: 2, max: 16 }),
        (traffic, count) => {
          const samples = samplesOf(createTraffic(traffic, 1), 500);
          const planner = new SplitPlanner();
          let map: ShardMap = { count, version: 0, splits: [] };
          let changes = 0;
          for (let round = 0; round < 2 * (SPLITS_MAX / ADDED_MAX); round++) {
            const next = planner.plan(map, samples, round * 10_000);
            expect(next.splits.length).toBeLessThanOrEqual(map.splits.length + ADDED_MAX);
            expect(next.version).toBe(next === map ? map.version : map.version + 1);
            expect(new Set(next.splits.map(String)).size).toBe(next.splits.length);
            if (next !== map) changes += 1;
            map = next;
          }
          expect(changes).toBeLessThanOrEqual(SPLITS_MAX / ADDED_MAX);
          expect(planner.plan(map, samples, 200_000)).toBe(map);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("changes seldom where the same traffic is sampled anew each time", () => {
    const next = createTraffic({ ...chat, sharedBlocks: 8, zipf: 1, conversations: 400 }, 11);
    const { maps } = planned(8, next, 60);
    const late = maps.slice(20);
    const changes = late.filter((map, i) => i > 0 && map !== late[i - 1]).length;
    expect(changes).toBeLessThanOrEqual(4);
  });

  it("says the same to the same samples", () => {
    const samples = samplesOf(createTraffic({ ...chat, sharedBlocks: 8, zipf: 1 }, 2));
    const plan = () =>
      new SplitPlanner().plan({ count: 16, version: 3, splits: [] }, samples, 1_000);
    expect(plan()).toEqual(plan());
    expect(plan().version).toBe(4);
  });

  it("takes back a split that hardly anybody has met for long, and not before", () => {
    const { planner, map } = planned(4, createTraffic({ ...chat, sharedBlocks: 8 }, 5));
    expect(map.splits).toHaveLength(1);
    const other = createTraffic({ ...chat, sharedBlocks: 3 }, 6);
    const changed = () => {
      const keys = other();
      keys.forEach((word, i) => (keys[i] = word ^ 0xffff));
      return keys;
    };
    const from = 1_000_000;
    const both = planner.plan(map, samplesOf(changed), from);
    expect(both.splits).toHaveLength(2);
    expect(planner.plan(both, samplesOf(changed), from + COLD_MS - 1)).toBe(both);
    // It was met once more: the time begins anew.
    const again = createTraffic({ ...chat, sharedBlocks: 8 }, 5);
    planner.plan(both, samplesOf(again), from + COLD_MS - 1);
    expect(planner.plan(both, samplesOf(changed), from + COLD_MS).splits).toHaveLength(2);
    const after = planner.plan(both, samplesOf(changed), from + 2 * COLD_MS);
    expect(after.splits).toEqual([both.splits[1]]);
    expect(after.version).toBe(both.version + 1);
  });

  it("says nothing by a few samples, or for one shard", () => {
    const next = createTraffic({ ...chat, sharedBlocks: 8 }, 5);
    const map: ShardMap = { count: 4, version: 0, splits: [] };
    const few = samplesOf(next, PLAN_SAMPLES_MIN - 1);
    expect(new SplitPlanner().plan(map, few, 0)).toBe(map);
    const one: ShardMap = { count: 1, version: 7, splits: [] };
    expect(new SplitPlanner().plan(one, samplesOf(next), 0)).toBe(one);
  });

  it("holds within SPLITS_MAX, and drops nothing that is warm for it", () => {
    const next = createTraffic({ ...chat, sharedBlocks: 8 }, 5);
    const splits = Array.from({ length: SPLITS_MAX }, (_, i) => [i, i, 4] as const);
    const full: ShardMap = { count: 4, version: 1, splits };
    const planner = new SplitPlanner();
    expect(planner.plan(full, samplesOf(next), 0)).toBe(full);
    const freed = planner.plan(full, samplesOf(next), COLD_MS);
    expect(freed.splits).toHaveLength(1);
  });
});

describe("loadsOf", () => {
  it("agrees with shardOf", () => {
    const next = createTraffic({ ...chat, sharedBlocks: 8, zipf: 1, conversations: 300 }, 4);
    const prompts = Array.from({ length: 1_000 }, next);
    const { map } = planned(8, next);
    const shards = prepareShards(map);
    const counts = new Float64Array(8);
    for (const keys of prompts) counts[shardOf(keys, shards, 0)]! += 1 / 1_000;
    const loads = loadsOf(
      map,
      prompts.map((keys) => sampleOf(keys, 1)),
    );
    loads.forEach((load, shard) => expect(load).toBeCloseTo(counts[shard]!, 6));
  });
});

const longChat: Traffic = {
  sharedBlocks: 8,
  conversations: 900,
  zipf: 0.6,
  turnBlocks: 6,
  turnsMax: 6,
};

describe("hit rates of a pool of shards, against one object", () => {
  it.each<[string, number, Traffic]>([
    ["that all share a block", 4, { ...longChat, sharedBlocks: 1 }],
    ["that all share 8 blocks", 4, longChat],
    ["that all share 40 blocks", 4, { ...longChat, sharedBlocks: 40 }],
    ["by Zipf", 4, { ...longChat, zipf: 1 }],
    ["that all share 8 blocks, over 16 shards", 16, longChat],
  ])(
    "are within 2%% for prompts %s",
    (name, count, traffic) => {
      const one = hitRate({ count: 1, version: 0, splits: [] }, traffic);
      const many = hitRate(plannedMap(count, traffic), traffic);
      expect(one).toBeGreaterThan(0.3);
      expect(many).toBeGreaterThan(one * 0.98);
    },
    60_000,
  );
});

// Four objects of a pool have as good caches as one, and their requests wait as long: on a time of its own.

import { expect, it } from "vitest";
import { driveModel } from "../../bench/shards/model.ts";
import type { Split } from "../../src/scheduler/shards/contracts.ts";

/** Below what all prompts begin with, as a lead finds it out: by the block behind it. */
const SPLITS: readonly Split[] = [
  [1_364_076_727, 2_462_723_854, 4],
  [3_423_425_485, 1_486_870_344, 10],
  [2_476_801_540, 2_117_216_093, 10],
  [3_997_085_994, 862_081_050, 10],
];

async function drive(shards: number) {
  const { cachedTokens, promptTokens, ttftP90Ms, refused } = await driveModel({
    shards,
    endpoints: 32,
    seed: 3,
    perSecond: 1_100,
    warmUpMs: 8_000,
    awaitsSplits: false,
    measureMs: 3_000,
    cacheBlocks: 3_000,
    ...(shards > 1 ? { map: { count: shards, version: 1, splits: SPLITS } } : {}),
  });
  expect(refused).toEqual({});
  return { hitRate: cachedTokens / promptTokens, ttftP90Ms };
}

it("holds four objects' hit rate within 2% of one's, and waits little longer", async () => {
  const one = await drive(1);
  const many = await drive(4);
  expect(one.hitRate).toBeGreaterThan(0.7);
  expect(many.hitRate / one.hitRate).toBeGreaterThan(0.98);
  expect(many.ttftP90Ms / one.ttftP90Ms).toBeLessThan(1.2);
}, 60_000);

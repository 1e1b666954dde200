import { describe, expect, it } from "vitest";
import { CONTENT_KEYS_MAX } from "../../../src/scheduler/kv/content-keys.ts";
import {
  HotRoots,
  placeOf,
  PromptSampler,
  sampleIntervalMs,
  sampleOf,
  SAMPLES_MAX,
  SAMPLES_TOLD_MAX,
  SAMPLES_WINDOW_MS,
  SPLIT_BLOCKS,
  splitBlockAfter,
} from "../../../src/scheduler/shards/hot-roots.ts";

const prompt = (blocks: number) => Uint32Array.from({ length: 2 * blocks }, (_, i) => i + 1);

describe("sampleOf", () => {
  it("keeps every key of the beginning, fewer later on, and the last one", () => {
    const { blocks, keys, lastLow, lastHigh } = sampleOf(prompt(1_000), 3);
    expect(blocks).toBe(1_000);
    expect([...keys.subarray(0, 128)]).toEqual([...prompt(64)]);
    const place = placeOf(96)!;
    expect([keys[2 * place], keys[2 * place + 1]]).toEqual([193, 194]);
    expect([lastLow, lastHigh]).toEqual([1_999, 2_000]);
    expect(sampleOf(prompt(CONTENT_KEYS_MAX), 1).keys.byteLength).toBeLessThan(1_400);
    expect(sampleOf(prompt(0), 1)).toMatchObject({ blocks: 0, lastLow: 0 });
  });

  it("names the blocks that a split may look at", () => {
    expect(splitBlockAfter(0)).toBe(1);
    expect(splitBlockAfter(64)).toBe(68);
    expect(splitBlockAfter(SPLIT_BLOCKS.at(-1)!)).toBeUndefined();
    expect(placeOf(65)).toBeUndefined();
  });
});

describe("a PromptSampler", () => {
  it("takes one in a while, which stands for all since the one before", () => {
    const sampler = new PromptSampler();
    for (let ms = 0; ms <= 1_000; ms += 10) sampler.observe(prompt(2), ms, 100);
    const samples = sampler.take();
    expect(samples.map(({ weight }) => weight)).toEqual([1, ...Array<number>(10).fill(10)]);
    expect(sampler.take()).toEqual([]);
  });

  it("holds so many, and counts what is beyond them with the next", () => {
    const sampler = new PromptSampler();
    for (let i = 0; i < SAMPLES_TOLD_MAX + 50; i++) sampler.observe(prompt(2), i * 100, 100);
    expect(sampler.take()).toHaveLength(SAMPLES_TOLD_MAX);
    sampler.observe(prompt(2), 1e6, 100);
    expect(sampler.take()).toMatchObject([{ weight: 51 }]);
  });

  it("fills the pool's samples in their time, with all shards together", () => {
    for (const shards of [1, 4, 16]) {
      const each = SAMPLES_WINDOW_MS / sampleIntervalMs(shards);
      expect(each * shards).toBeCloseTo(SAMPLES_MAX);
    }
  });
});

describe("HotRoots", () => {
  it("keeps the newest ones, for a minute", () => {
    const roots = new HotRoots();
    for (let i = 0; i < SAMPLES_MAX + 10; i++) roots.add(sampleOf(prompt(1), i + 1), i);
    const weights = roots.samples(SAMPLES_MAX).map(({ weight }) => weight);
    expect(weights).toHaveLength(SAMPLES_MAX);
    expect(Math.min(...weights)).toBe(11);
    expect(roots.samples(SAMPLES_WINDOW_MS + 20)).toHaveLength(SAMPLES_MAX - 11);
    expect(roots.samples(SAMPLES_MAX + SAMPLES_WINDOW_MS + 10)).toEqual([]);
  });

  it("takes nothing that is no sample", () => {
    const roots = new HotRoots();
    roots.add({ ...sampleOf(prompt(3), 1), keys: new Uint32Array(2) }, 0);
    roots.add({ ...sampleOf(prompt(3), 1), weight: Number.NaN }, 0);
    roots.add({ ...sampleOf(prompt(3), 1), blocks: -1 }, 0);
    expect(roots.samples(0)).toEqual([]);
  });
});

import { describe, expect, it } from "vitest";
import { DISAGGREGATED_CONFIG } from "../../../src/scheduler/config/disaggregated-config.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { Picked } from "../../../src/scheduler/endpoint-picker.ts";
import { inferenceRequest, NOW_MS } from "../support/pick-context.ts";
import { promptKeys, TestPool } from "../support/pool.ts";

/** Slots 0 and 1 prefill, 2 and 3 decode. */
function disaggregated(): TestPool {
  const pool = new TestPool(0, schedulerConfigSchema.parse(DISAGGREGATED_CONFIG));
  ["prefill", "prefill", "decode", "decode"].forEach((role, n) => {
    const labels = { "llm-d.ai/role": role };
    pool.table.add({ id: `default/e${n}`, address: `10.0.0.${n}:8000`, engine: "vllm", labels });
  });
  pool.sampleAll();
  return pool;
}

const LONG = "A long story about caches and queues. ".repeat(1_000);
const PROMPT_TOKENS = Math.ceil(LONG.length / 4);

function pick(pool: TestPool, promptTokens = PROMPT_TOKENS): Picked {
  const request = inferenceRequest({ keys: promptKeys(LONG), promptTokens });
  return pool.pick(LONG, { request }) as Picked;
}

/** What running requests do to a decode endpoint's sample. */
function run(pool: TestPool, running: number): void {
  for (const slot of [2, 3]) pool.table.applySample(slot, { waiting: 0, running }, NOW_MS);
}

describe("the configuration of a disaggregated pool", () => {
  it("loads without a note", () => {
    expect(loadSchedulerConfig(DISAGGREGATED_CONFIG)).toMatchObject({ issues: [], notes: [] });
  });

  it("decodes where it says so, and prefills there while nobody minds", () => {
    const picked = pick(disaggregated());
    expect([2, 3]).toContain(picked.slots[0]);
    expect(picked.slots).toHaveLength(2);
    expect(picked.prefill).toBeUndefined();
  });

  it("splits a long prompt where others run, with another prefill endpoint in reserve", () => {
    const pool = disaggregated();
    run(pool, 8);
    const picked = pick(pool);
    expect([2, 3]).toContain(picked.slots[0]);
    expect(new Set([picked.prefill![0], picked.prefillNext])).toEqual(new Set([0, 1]));
  });

  it("splits neither a short prompt nor one that is cached where it is decoded", () => {
    const pool = disaggregated();
    run(pool, 8);
    expect(pick(pool, 500).prefill).toBeUndefined();
    for (const slot of [2, 3]) pool.prefix.learn(promptKeys(LONG), slot, 0);
    expect(pick(pool).prefill).toBeUndefined();
  });

  it("spreads prefills over those who prefill", () => {
    const pool = disaggregated();
    run(pool, 16);
    const prefilled = new Set<number>();
    for (let i = 0; i < 4; i++) {
      const slot = pick(pool).prefill![0]!;
      prefilled.add(slot);
      const promptTokens = PROMPT_TOKENS;
      const prompt = { promptTokens, uncachedTokens: promptTokens };
      pool.table.dispatched(slot, promptTokens, NOW_MS, prompt);
    }
    expect(prefilled).toEqual(new Set([0, 1]));
  });
});

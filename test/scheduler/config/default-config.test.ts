import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { BYTES_PER_TOKEN, CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import { inferenceRequest, NOW_MS } from "../support/pick-context.ts";
import { promptKeys, TestPool } from "../support/pool.ts";

const KV = { kvBlockSize: 16, kvBlocks: 16_384 };
const OUTPUT_TOKENS = 500;
const SYSTEM = "You are a patient librarian who answers in full sentences. ".repeat(400);

function createPool(endpoints: number): TestPool {
  const pool = new TestPool(endpoints, schedulerConfigSchema.parse(undefined));
  for (const slot of pool.table.slots())
    pool.table.applySample(slot, { waiting: 0, running: 0, kvUsage: 0, ...KV }, NOW_MS);
  return pool;
}

/** As the object does: picks, charges the endpoint, and learns that it has the prompt. */
function send(pool: TestPool, prompt: string, nowMs = NOW_MS): number {
  const keys = promptKeys(prompt);
  const promptTokens = prompt.length / BYTES_PER_TOKEN;
  const outcome = pool.pick(prompt, { nowMs, request: inferenceRequest({ keys, promptTokens }) });
  if (!outcome.ok) throw new Error(outcome.detail);
  const slot = outcome.slots[0]!;
  const cached = outcome.matchedBlocks * CONTENT_BLOCK_TOKENS;
  const uncachedTokens = Math.max(0, promptTokens - cached);
  const work = { promptTokens, uncachedTokens };
  pool.table.dispatched(slot, uncachedTokens + OUTPUT_TOKENS, nowMs, work);
  pool.prefix.learn(keys, slot, 0);
  return slot;
}

describe("the default profile", () => {
  it("spreads cold prompts evenly, also within one sample", () => {
    const pool = createPool(6);
    const slots = Array.from({ length: 60 }, (_, i) => send(pool, `${i} is new. ${SYSTEM}`));
    for (const slot of pool.table.slots())
      expect(slots.filter((other) => other === slot)).toHaveLength(10);
  });

  it("keeps prompts that share a prefix together, as long as that costs less than another copy", () => {
    const pool = createPool(4);
    const first = send(pool, SYSTEM);
    // By then the first has been computed, and the samples are still fresh.
    const thenMs = NOW_MS + 900;
    const ask = (i: number) => send(pool, `${SYSTEM} Question ${i}?`, thenMs);
    const slots = Array.from({ length: 12 }, (_, i) => ask(i));
    expect(new Set(slots)).toEqual(new Set([first]));
  });

  it("lets go of a holder under a flood, and spreads it", () => {
    const pool = createPool(4);
    send(pool, SYSTEM);
    const slots = Array.from({ length: 400 }, (_, i) => send(pool, `${SYSTEM} Question ${i}?`));
    expect(new Set(slots).size).toBe(4);
  });

  it("leaves endpoints without a fresh sample out while others are there", () => {
    const pool = createPool(2);
    const late = pool.table.add({
      id: "default/late",
      address: "late:1",
      engine: "vllm",
      labels: {},
    });
    const slots = Array.from({ length: 20 }, (_, i) => send(pool, `${i} is new. ${SYSTEM}`));
    expect(slots).not.toContain(late);
  });

  it("gives the relay others to try", () => {
    const outcome = createPool(6).pick("hello");
    expect(outcome).toMatchObject({ ok: true });
    expect(outcome.ok && outcome.slots).toHaveLength(4);
  });
});

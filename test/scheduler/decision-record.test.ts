import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../src/scheduler/config.ts";
import {
  DECISION_LIMITS,
  type DecisionFacts,
  type DecisionRecord,
  DecisionRecorder,
  DecisionRing,
} from "../../src/scheduler/decision-record.ts";
import { inferenceRequest, STALE_AFTER_MS } from "./support/pick-context.ts";
import { promptKeys, TestPool } from "./support/pool.ts";

const FACTS: DecisionFacts = { attempt: 0, configVersion: 3, seed: 5 };

function record(pool: TestPool, prompt = "x", recorder = new DecisionRecorder()): DecisionRecord {
  const outcome = pool.pick(prompt, { recorder, seed: FACTS.seed });
  const dropped = outcome.ok ? {} : { dropped: outcome };
  return recorder.finish(pool.table, { ...FACTS, ...dropped })!;
}

function sampledPool(endpoints: number): TestPool {
  const pool = new TestPool(endpoints);
  pool.sampleAll();
  return pool;
}

/** A record of the given size in kept candidates, without a pool. */
function recordOf(requestId: string, attempt = 0): DecisionRecord {
  const pool = sampledPool(4);
  const recorder = new DecisionRecorder();
  pool.pick("x", { recorder, request: inferenceRequest({ requestId }) });
  return recorder.finish(pool.table, { ...FACTS, attempt })!;
}

describe("DecisionRecorder", () => {
  it("keeps what the decision saw and chose", () => {
    const pool = sampledPool(3);
    pool.table.remove(1);
    expect(record(pool)).toMatchObject({
      requestId: "request-1",
      model: "model-a",
      tenant: "tenant-a",
      configVersion: 3,
      seed: 5,
      staleAfterMs: STALE_AFTER_MS,
      filters: [
        { type: "ejection-filter", removed: 0 },
        { type: "metrics-freshness-filter", removed: 0 },
      ],
      scorers: [
        { type: "queue-scorer", weight: 2 },
        { type: "kv-cache-utilization-scorer", weight: 2 },
        { type: "prefix-cache-scorer", weight: 3 },
        { type: "no-hit-lru-scorer", weight: 2 },
      ],
      candidateCount: 2,
      ids: ["default/e0", "default/e2"],
      addresses: ["10.0.0.0:8000", "10.0.0.2:8000"],
      chosen: [0, 1],
    });
  });

  it("names the filter that removed a candidate", () => {
    const pool = new TestPool(3);
    pool.table.applySample(1, { waiting: 0 }, 999_999);
    const { filters, removedBy, chosen } = record(pool);
    expect(filters).toEqual([
      { type: "ejection-filter", removed: 0 },
      { type: "metrics-freshness-filter", removed: 2 },
    ]);
    expect([...removedBy]).toEqual([1, -1, 1]);
    expect(chosen).toEqual([1]);
  });

  it("has nothing to say of a pool without endpoints, nor twice of one decision", () => {
    const pool = new TestPool(0);
    const recorder = new DecisionRecorder();
    pool.pick("x", { recorder });
    expect(recorder.finish(pool.table, FACTS)).toBeUndefined();
    const one = sampledPool(1);
    one.pick("x", { recorder });
    expect(recorder.finish(one.table, FACTS)).toBeDefined();
    expect(recorder.finish(one.table, FACTS)).toBeUndefined();
  });

  it("does not carry one decision's scores into the next", () => {
    const recorder = new DecisionRecorder();
    const full = sampledPool(3);
    record(full, "x", recorder);
    const partly = new TestPool(3);
    partly.table.applySample(0, { waiting: 0 }, 1_000_000);
    const { values, ids } = record(partly, "x", recorder);
    const width = values.length / ids.length;
    // The total and the four scores of the candidates that the filter removed.
    for (const row of [1, 2]) {
      const scored = [...values.subarray(row * width, (row + 1) * width)].slice(-5);
      expect(scored).toEqual([NaN, NaN, NaN, NaN, NaN]);
    }
  });

  it("keeps the best candidates of a large pool, the chosen among them, and counts the rest", () => {
    const pool = new TestPool(1_000);
    pool.sampleAll(
      Object.fromEntries(Array.from({ length: 990 }, (_, n) => [n, { waiting: 9, kvUsage: 1 }])),
    );
    const { candidateCount, ids, chosen } = record(pool);
    expect(candidateCount).toBe(1_000);
    expect(ids).toHaveLength(DECISION_LIMITS.candidatesMax);
    for (let n = 990; n < 1_000; n++) expect(ids).toContain(`default/e${n}`);
    for (const row of chosen) expect(ids[row]).toMatch(/^default\/e99\d$/);
  });

  it("keeps the chosen where hundreds are as good", () => {
    const config = schedulerConfigSchema.parse({ schedulingProfiles: [{ scorers: [] }] });
    const pool = new TestPool(500, config);
    pool.sampleAll();
    const recorder = new DecisionRecorder();
    for (let seed = 0; seed < 20; seed++) {
      const picked = pool.pick("x", { recorder, seed });
      const slots = picked.ok ? [...picked.slots] : [];
      const { ids, chosen } = recorder.finish(pool.table, { ...FACTS, seed })!;
      expect(ids).toHaveLength(DECISION_LIMITS.candidatesMax);
      expect(new Set(ids).size).toBe(ids.length);
      expect(chosen.map((row) => ids[row])).toEqual(slots.map((slot) => `default/e${slot}`));
    }
  });

  it("keeps keys at an even stride, the first always", () => {
    const pool = sampledPool(1);
    const prompt = "some words of a long prompt ".repeat(1_000);
    const keys = promptKeys(prompt);
    expect(keys.length / 2).toBeGreaterThan(DECISION_LIMITS.keysMax * 4);
    const kept = record(pool, prompt);
    expect(kept.keys).toHaveLength(DECISION_LIMITS.keysMax * 2);
    expect([...kept.keys.subarray(0, 2)]).toEqual([...keys.subarray(0, 2)]);
    expect(kept.totalBlocks).toBe(keys.length / 2);
  });

  it("keeps no word of the prompt", () => {
    const text = JSON.stringify(record(sampledPool(2), "a very secret prompt ".repeat(100)));
    expect(text).not.toContain("secret");
  });
});

describe("DecisionRing", () => {
  it("finds every attempt of a request, first attempt first", () => {
    const ring = new DecisionRing();
    ring.add(recordOf("a", 1));
    ring.add(recordOf("b", 0));
    ring.add(recordOf("a", 0));
    expect(ring.find("a").map(({ attempt }) => attempt)).toEqual([0, 1]);
    expect(ring.find("c")).toEqual([]);
  });

  it("replaces a record of the same attempt", () => {
    const ring = new DecisionRing();
    ring.add(recordOf("a"));
    const bytes = ring.byteLength;
    ring.add(recordOf("a"));
    expect(ring.byteLength).toBe(bytes);
    expect(ring.find("a")).toHaveLength(1);
  });

  it("drops the oldest when its bytes are used up, and never passes them", () => {
    const bytesMax = 16 * 1024;
    const ring = new DecisionRing(bytesMax);
    for (let i = 0; i < 200; i++) {
      ring.add(recordOf(`r${i}`));
      expect(ring.byteLength).toBeLessThanOrEqual(bytesMax);
    }
    expect(ring.find("r0")).toEqual([]);
    expect(ring.find("r199")).toHaveLength(1);
    expect(ring.byteLength).toBeGreaterThan(bytesMax / 2);
  });

  it("counts the texts a client chooses", () => {
    const ring = new DecisionRing();
    ring.add({ ...recordOf("a"), model: "m".repeat(1_000) });
    const short = new DecisionRing();
    short.add({ ...recordOf("a"), model: "" });
    expect(ring.byteLength - short.byteLength).toBe(2_000);
  });

  it("adds how an attempt went, and ignores one it no longer has", () => {
    const ring = new DecisionRing();
    ring.add(recordOf("a"));
    const result = {
      endpoint: "10.0.0.0:8000",
      outcome: "completed",
      ttftMs: 12,
      promptTokens: 100,
      cachedTokens: 64,
      completionTokens: 5,
    };
    ring.settle("a", 0, result);
    ring.settle("gone", 0, result);
    expect(ring.find("a")[0]?.result).toEqual(result);
  });
});

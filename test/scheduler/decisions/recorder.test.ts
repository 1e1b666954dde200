import { describe, expect, it } from "vitest";
import {
  DECISION_LIMITS,
  type DecisionRecord,
  type RecordedRun,
} from "../../../src/scheduler/decisions/record.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import { DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import { NOW_MS, STALE_AFTER_MS } from "../support/pick-context.ts";
import { profileConfig } from "../support/profile-config.ts";
import { promptKeys, TestPool } from "../support/pool.ts";
import { CONFIG_VERSION, recordPick, SEED } from "../support/recorded.ts";

function sampledPool(endpoints: number): TestPool {
  const pool = new TestPool(endpoints);
  pool.sampleAll();
  return pool;
}

function onlyRun(record: DecisionRecord | undefined): RecordedRun {
  expect(record?.runs).toHaveLength(1);
  return record!.runs[0]!;
}

describe("DecisionRecorder", () => {
  it("keeps what the decision saw and chose", () => {
    const pool = sampledPool(3);
    pool.table.remove(1);
    expect(recordPick(pool, "x")).toMatchObject({
      requestId: "request-1",
      model: "model-a",
      tenant: "tenant-a",
      priority: 0,
      promptTokens: 100,
      outputTokensMax: null,
      bodyBytes: 400,
      atMs: NOW_MS,
      configVersion: CONFIG_VERSION,
      seed: SEED,
      staleAfterMs: STALE_AFTER_MS,
      runs: [
        {
          profile: "default",
          role: "primary",
          filters: [
            { name: "ejection-filter", removed: 0 },
            { name: "metrics-freshness-filter", removed: 0 },
          ],
          scorers: [
            { name: "queue-scorer", type: "queue-scorer", weight: 2 },
            { name: "kv-cache-utilization-scorer", weight: 2 },
            { name: "prefix-cache-scorer", weight: 3 },
            { name: "no-hit-lru-scorer", weight: 2 },
          ],
          rows: [{ removedBy: -1 }, { removedBy: -1 }],
          chosen: expect.toSatisfy((rows: number[]) => new Set(rows).size === 2),
        },
      ],
      candidateCount: 2,
      candidates: [
        { slot: 0, endpoint: { id: "default/e0", address: "10.0.0.0:8000" } },
        { slot: 2, endpoint: { id: "default/e2", address: "10.0.0.2:8000" } },
      ],
      excluded: [],
    });
  });

  it("keeps every column as it was, to the last bit", () => {
    const pool = new TestPool(2);
    const sample = { waiting: 3, running: 7, kvUsage: 1 / 3, kvBlockSize: 16, kvBlocks: 12_345 };
    pool.table.applySample(0, sample, NOW_MS - 0.1);
    pool.table.dispatched(0, 100 / 3, NOW_MS);
    pool.table.eject(0, NOW_MS - 1);
    pool.prefix.learn(promptKeys("x".repeat(2_000)), 0, 0);
    const [sampled, never] = recordPick(pool, "x".repeat(2_000))!.candidates;
    expect(sampled).toMatchObject({
      matchedBlocks: promptKeys("x".repeat(2_000)).length / 2,
      columns: {
        queueDepth: 4,
        runningRequests: 7,
        kvUsage: 1 / 3,
        kvCapacityTokens: 16 * 12_345,
        sampledAtMs: NOW_MS - 0.1,
        inFlightRequests: 1,
        inFlightTokens: 100 / 3,
        ejectedUntilMs: NOW_MS - 1,
      },
    });
    expect(never!.columns).toMatchObject({ sampledAtMs: -Infinity, kvUsage: 1 });
  });

  it("names the filter that removed a candidate", () => {
    const pool = new TestPool(4);
    pool.table.applySample(1, { waiting: 0 }, NOW_MS - 1);
    pool.table.applySample(3, { waiting: 0 }, NOW_MS - 1);
    pool.table.eject(3, NOW_MS + 1);
    const { filters, rows, chosen } = onlyRun(recordPick(pool, "x"));
    expect(filters.map(({ removed }) => removed)).toEqual([1, 2]);
    expect(rows.map(({ removedBy }) => removedBy)).toEqual([1, -1, 1, 0]);
    expect(rows.map(({ scores }) => scores.length)).toEqual([0, 4, 0, 0]);
    expect(chosen).toEqual([1]);
  });

  it("keeps whom a retry excluded, no more than it may", () => {
    const pool = sampledPool(40);
    const { candidateCount, excluded } = recordPick(pool, "x", { exclude: [3, 7] })!;
    expect({ candidateCount, excluded }).toEqual({
      candidateCount: 38,
      excluded: ["default/e3", "default/e7"],
    });
    const many = Array.from({ length: 30 }, (_, slot) => slot);
    expect(recordPick(pool, "x", { exclude: many })!.excluded).toHaveLength(
      DECISION_LIMITS.excludedMax,
    );
  });

  it("has nothing to say of a pool without endpoints, nor twice of one decision", () => {
    const ring = new DecisionRing();
    const recorder = new DecisionRecorder(ring);
    expect(recordPick(new TestPool(0), "x", { ring, recorder })).toBeUndefined();
    const pool = sampledPool(1);
    expect(recordPick(pool, "x", { ring, recorder })).toBeDefined();
    const facts = { attempt: 0, configVersion: 1, scheduler: pool.config, seed: 1 };
    expect(recorder.finish(pool.table, facts)).toBe(false);
  });

  it("does not carry one decision's scores into the next", () => {
    const ring = new DecisionRing();
    const recorder = new DecisionRecorder(ring);
    recordPick(sampledPool(3), "x", { ring, recorder, requestId: "full" });
    const partly = new TestPool(3);
    partly.table.applySample(0, { waiting: 0 }, NOW_MS);
    const { rows } = onlyRun(recordPick(partly, "x", { ring, recorder, requestId: "partly" }));
    expect(rows.map(({ total }) => Number.isNaN(total))).toEqual([false, true, true]);
  });

  it("keeps the best candidates of a large pool, the chosen among them, and counts the rest", () => {
    const pool = new TestPool(1_000);
    pool.sampleAll(
      Object.fromEntries(Array.from({ length: 990 }, (_, n) => [n, { waiting: 9, kvUsage: 1 }])),
    );
    const record = recordPick(pool, "x")!;
    const { candidateCount, candidates } = record;
    const { chosen } = onlyRun(record);
    const ids = candidates.map(({ endpoint }) => endpoint.id);
    expect(candidateCount).toBe(1_000);
    expect(new Set(ids).size).toBe(DECISION_LIMITS.candidatesMax);
    for (let n = 990; n < 1_000; n++) expect(ids).toContain(`default/e${n}`);
    for (const row of chosen) expect(ids[row]).toMatch(/^default\/e99\d$/);
  });

  it("keeps the chosen where hundreds are as good", () => {
    const config = profileConfig({ scorers: [] });
    const pool = new TestPool(500, config);
    pool.sampleAll();
    for (let seed = 0; seed < 20; seed++) {
      const picked = pool.pick("x", { seed });
      const slots = picked.ok ? [...picked.slots] : [];
      const record = recordPick(pool, "x", { seed })!;
      const { candidates } = record;
      const { chosen } = onlyRun(record);
      expect(candidates).toHaveLength(DECISION_LIMITS.candidatesMax);
      expect(chosen.map((row) => candidates[row]!.slot)).toEqual(slots);
    }
  });

  it("keeps the keys of the same blocks of every prompt that is as long", () => {
    const pool = sampledPool(1);
    const shared = "some words of a long prompt ".repeat(4_000);
    const keys = promptKeys(shared);
    const long = recordPick(pool, `${shared} and one end`)!;
    const longer = recordPick(pool, shared + " and another end".repeat(9_000))!;
    for (const { keys: kept, keyStride, totalBlocks } of [long, longer]) {
      expect(kept.length / 2).toBe(Math.ceil(totalBlocks / keyStride));
      expect(kept.length / 2).toBeLessThanOrEqual(DECISION_LIMITS.keysMax);
      expect(kept.length / 2).toBeGreaterThan(DECISION_LIMITS.keysMax / 2);
      expect([...kept.subarray(0, 2)]).toEqual([...keys.subarray(0, 2)]);
    }
    expect(longer.keyStride).toBeGreaterThan(long.keyStride);
    const step = longer.keyStride / long.keyStride;
    for (let i = 0; i * longer.keyStride < keys.length / 2; i++)
      expect(longer.keys[2 * i]).toBe(long.keys[2 * i * step]);
  });

  it("keeps every key of a short prompt", () => {
    const prompt = "some words ".repeat(300);
    const { keys, keyStride } = recordPick(sampledPool(1), prompt)!;
    expect(keyStride).toBe(1);
    expect(keys).toEqual(promptKeys(prompt));
  });

  it("keeps no word of the prompt", () => {
    const text = JSON.stringify(recordPick(sampledPool(2), "a very secret prompt ".repeat(100)));
    expect(text).not.toContain("secret");
  });
});

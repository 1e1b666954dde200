import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { schedulerHash } from "../../../src/scheduler/config/scheduler-hash.ts";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import { RECORD_BYTES_MAX } from "../../../src/scheduler/decisions/layout.ts";
import {
  isPackedRecord,
  type PackedRecord,
  RECORD_LAYOUT,
  RECORD_NAMES_CHARS_MAX,
  RecordPacker,
  sizeOfRecord,
  unpackRecord,
} from "../../../src/scheduler/decisions/packed-record.ts";
import type { DecisionRecord } from "../../../src/scheduler/decisions/record.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { ENDPOINTS_MAX } from "../../../src/scheduler/model/endpoint-table.ts";
import { profileConfig, profileDocument } from "../support/profile-config.ts";
import { labelsOf } from "../support/pool-life.ts";
import { anyStep, ReplicaLife } from "../support/replica-life.ts";
import { TestPool } from "../support/pool.ts";
import { recordPick, type RecordedOptions } from "../support/recorded.ts";

/** The same decision, as a ring has it and packed. */
function recordBoth(pool: TestPool, prompt: string, options: RecordedOptions = {}) {
  const ring = new DecisionRing();
  const packer = new RecordPacker();
  const recorder = new DecisionRecorder({
    add(decision) {
      ring.add(decision);
      packer.add(decision);
    },
  });
  const record = recordPick(pool, prompt, { ...options, ring, recorder })!;
  return { record, packed: packer.take(), packer };
}

function labelledPool(endpoints: number): TestPool {
  const screener = {
    type: "disaggregatedset-rollout-screener",
    parameters: {
      scope: { labelSelector: "x" },
      revisionGating: {
        mode: "sum",
        roleLabelKey: "llm-d.ai/role",
        requireRoles: { values: ["decode"] },
      },
    },
  };
  const document = profileDocument({
    scorers: [{ type: "prefix-cache-scorer" }, { type: "latency-cost-scorer" }],
  });
  const config = schedulerConfigSchema.parse({
    ...document,
    plugins: [...document.plugins, screener],
  });
  const pool = new TestPool(endpoints, config);
  for (const slot of pool.table.slots())
    pool.table.add({ ...pool.table.endpoint(slot)!, labels: labelsOf(slot) });
  pool.sampleAll({ 0: { waiting: 3, kvUsage: 0.5 } });
  pool.table.applyAdapters(0, { active: ["model-a"], waiting: ["b"], maxActive: 4 });
  return pool;
}

const SPARED = Uint8Array.from({ length: ENDPOINTS_MAX }, (_, slot) => slot & 1);
const LONG = "a shared beginning ".repeat(200);

/** A packed record with a bit of everything, and what it was packed from. */
function anyRecord(endpoints = 6): {
  packed: PackedRecord;
  record: DecisionRecord;
  pool: TestPool;
} {
  const pool = labelledPool(endpoints);
  const spared = SPARED;
  const { record, packed } = recordBoth(pool, LONG, { spared, exclude: [2], attempt: 1 });
  return { packed: packed!, record, pool };
}

describe("a packed record", () => {
  it.for([1, 6, 64, 200])("is read as it was written, of %d endpoints", (endpoints) => {
    const { packed, record, pool } = anyRecord(endpoints);
    expect(isPackedRecord(packed)).toBe(true);
    expect(packed.schedulerHash).toBe(schedulerHash(pool.config));
    expect(unpackRecord(packed, record.requestId, pool.config)).toEqual(record);
  });

  it("is one that a replay takes again", () => {
    const { packed, pool } = anyRecord();
    const read = unpackRecord(packed, "request-1", pool.config)!;
    const parsed = parseReplayable(JSON.parse(JSON.stringify(explain("pool-a", [read]))));
    expect(parsed.ok && replayAttempt(parsed.value.attempts[0]!).isSame).toBe(true);
  });

  it("names its endpoints itself, whoever is in their slots later", () => {
    const { packed, record, pool } = anyRecord();
    for (const slot of pool.table.slots()) pool.table.remove(slot);
    const read = unpackRecord(packed, "request-1", pool.config)!;
    expect(read.candidates.map(({ endpoint }) => endpoint.id)).toEqual(
      record.candidates.map(({ endpoint }) => endpoint.id),
    );
  });

  it("is taken once, and not there where its names take too much", () => {
    const pool = new TestPool(2);
    pool.sampleAll();
    const { packed, packer } = recordBoth(pool, "x");
    expect(sizeOfRecord(packed!)).toBeLessThan(2_000);
    expect(packer.take()).toBeUndefined();
    const endpoint = pool.table.endpoint(0)!;
    const labels = { long: "x".repeat(RECORD_NAMES_CHARS_MAX) };
    pool.table.add({ ...endpoint, labels });
    expect(recordBoth(pool, "x").packed).toBeUndefined();
  });

  it("is kept only in the size and the form that this release writes", () => {
    const { packed } = anyRecord();
    const numbers = new Uint8Array(RECORD_BYTES_MAX + 8);
    expect(isPackedRecord({ ...packed, numbers })).toBe(false);
    expect(isPackedRecord({ ...packed, names: "x".repeat(RECORD_NAMES_CHARS_MAX + 1) })).toBe(
      false,
    );
    expect(isPackedRecord({ ...packed, layout: RECORD_LAYOUT + 1 })).toBe(false);
    expect(isPackedRecord({ ...packed, numbers: "x" as never })).toBe(false);
  });

  it("is not there where it is damaged, and breaks no reader", () => {
    const { packed, pool } = anyRecord();
    const words = packed.numbers.byteLength / 4;
    const anyWord = fc.oneof(
      fc.constantFrom(-1, 0, 1, 2, 64, 1_024, 2 ** 31 - 1, -(2 ** 31)),
      fc.integer(),
    );
    const damage = fc.array(fc.tuple(fc.nat(words - 1), anyWord), { minLength: 1, maxLength: 4 });
    let readable = 0;
    fc.assert(
      fc.property(damage, fc.constantFrom(0, 0, 0, 4, 8, 64), (changes, cut) => {
        const numbers = packed.numbers.slice(0, packed.numbers.byteLength - cut);
        const ints = new Int32Array(numbers.buffer);
        for (const [at, word] of changes) ints[at] = word;
        const read = unpackRecord({ ...packed, numbers }, "request-1", pool.config);
        const text = JSON.stringify(explain("pool-a", read === undefined ? [] : [read])) ?? "";
        expect(text.length).toBeLessThan(cut > 0 ? 1 : 200_000);
        if (read === undefined) return;
        readable += 1;
        parseReplayable(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
    expect(readable).toBeGreaterThan(0);
  });

  it.for(["", "[]", "{}", "[[],[],[]]", '[["a"],[["vllm",{}]],[["e","a",9]]]'])(
    "is not there with names that are not its own: %s",
    (names) => {
      const { packed, pool } = anyRecord();
      expect(unpackRecord({ ...packed, names }, "request-1", pool.config)).toBeUndefined();
    },
  );

  it("is not read by a configuration that has not its plugins", () => {
    const { packed } = anyRecord();
    const other = profileConfig({ scorers: [{ type: "queue-scorer" }], filters: [] });
    expect(unpackRecord(packed, "request-1", other)).toBeUndefined();
  });
});

describe("a recorded pick over a replica", () => {
  it("is taken again to the same choice, whatever the pool's life and whoever was spared", () => {
    const seen = { full: 0, partial: 0, spared: 0 };
    const anyLife = fc.record({
      endpoints: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 60, max: 90 })),
      steps: fc.array(anyStep, { minLength: 5, maxLength: 60 }),
    });
    fc.assert(
      fc.property(anyLife, ({ endpoints, steps }) => {
        const life = new ReplicaLife(endpoints);
        for (const step of steps) {
          const picked = life.step(step);
          if (picked === undefined) continue;
          const { attempt, chosen } = picked;
          expect(attempt.chosen).toEqual(chosen);
          const { isSame, replayed } = replayAttempt(attempt);
          expect(isSame).toBe(true);
          expect(replayed.chosen[0]).toBe(chosen[0]);
          seen[attempt.candidateCount > attempt.candidates.length ? "partial" : "full"]++;
          if (attempt.candidates.some(({ isSpared }) => isSpared)) seen.spared++;
        }
      }),
      { numRuns: 60 },
    );
    expect(Math.min(seen.full, seen.partial, seen.spared)).toBeGreaterThan(0);
  }, 30_000);
});

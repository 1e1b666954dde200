// Adding load to one endpoint never raises its rank, and holding more of a prompt never lowers it.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DataProducer } from "../../src/scheduler/plugin.ts";
import { pluginsOfKind } from "../../src/scheduler/registry.ts";
import { type ContextFacts, contextFacts, contextOf, type FactRow } from "./contexts.ts";
import { type Example, examplesOf } from "./params.ts";
import { createProducer, createScorer, scoresOf } from "../scheduler/support/plugins.ts";

/** How many candidates score more than the one at `index`. */
function rankOf({ type, params }: Example, facts: ContextFacts, index: number): number {
  const scores = scoresOf(createScorer(type, params), contextOf(facts));
  return scores.filter((score) => score > scores[index]!).length;
}

type Change = (row: FactRow, amount: number) => FactRow;

/** Counts are columns of 32 bits, which EndpointTable never lets overflow. */
const COUNT_MAX = 0x7fff_ffff;

const MORE_QUEUED: Change = (row, by) => ({
  ...row,
  queueDepth: Math.min(COUNT_MAX, (row.queueDepth ?? 0) + by),
});
const MORE_RUNNING: Change = (row, by) => ({
  ...row,
  runningRequests: (row.runningRequests ?? 0) + by,
});
const MORE_MEMORY: Change = (row, by) => ({
  ...row,
  kvUsage: Math.min(1, (row.kvUsage ?? 0) + by / 1_000),
});
const MORE_SENT: Change = (row, by) => ({
  ...row,
  inFlightRequests: (row.inFlightRequests ?? 0) + by,
  inFlightTokens: (row.inFlightTokens ?? 0) + 100 * by,
});
const MORE_IN_CLUSTER: Change = (row, by) => ({
  ...row,
  scalars: Object.fromEntries(
    Object.entries(row.scalars ?? {}).map(([key, value]) => [key, value + by]),
  ),
});

const MORE_TO_COMPUTE: Change = (row, by) => ({
  ...row,
  prefillBusyMs: Math.max(0, row.prefillBusyMs ?? 0) + 10 * by,
});
const MORE_COLD: Change = (row, by) => ({ ...row, coldTokens: (row.coldTokens ?? 0) + 1_000 * by });

const MORE_IN_POOL: Change = (row, by) => ({
  ...row,
  pool: { ...row.pool, waitMs: (row.pool?.waitMs ?? 0) + 10 * by },
});
const MORE_CREDIT: Change = (row, by) => ({
  ...row,
  pool: { ...row.pool, creditMs: (row.pool?.creditMs ?? 0) + by },
});

/** The loads that a scorer is about. */
const LOADS: Readonly<Record<string, readonly Change[]>> = {
  "queue-scorer": [MORE_QUEUED],
  "running-requests-size-scorer": [MORE_RUNNING],
  "load-aware-scorer": [MORE_QUEUED],
  "kv-cache-utilization-scorer": [MORE_MEMORY],
  "active-request-scorer": [MORE_SENT],
  "token-load-scorer": [MORE_SENT],
  "multicluster-queue-scorer": [MORE_IN_CLUSTER],
  "multicluster-kv-cache-utilization-scorer": [MORE_IN_CLUSTER],
  // Without predictions; with them load is the predictor's to see.
  "latency-scorer": [MORE_QUEUED, MORE_MEMORY],
  "latency-cost-scorer": [MORE_QUEUED, MORE_RUNNING, MORE_MEMORY, MORE_TO_COMPUTE, MORE_COLD],
  "pool-cost-scorer": [MORE_IN_POOL, MORE_CREDIT, MORE_MEMORY],
};

/** Scorers that nothing of load enters, and what they are about instead. */
const LOAD_FREE: Readonly<Record<string, string>> = {
  "prefix-cache-scorer": "what is cached; below",
  "precise-prefix-cache-scorer": "what is cached; below",
  "multicluster-prefix-cache-scorer": "what is cached; below",
  "no-hit-lru-scorer": "the order in which endpoints were given cold prompts",
  "mm-embeddings-cache-scorer": "media that were encoded before",
  "lora-affinity-scorer": "adapters that are loaded, however busy",
  "session-affinity-scorer": "where a session's earlier requests went",
  "context-length-aware": "labels and the prompt's length",
  "header-label-affinity-scorer": "labels and a header",
  "topology-affinity-scorer": "labels of two endpoints",
  "endpoint-attribute-scorer": "a number whose meaning is the configuration's to know",
};

it.for(pluginsOfKind("scorer").map(({ type }) => type))("knows what %s has of load", (type) => {
  expect([type in LOADS, type in LOAD_FREE].filter(Boolean)).toHaveLength(1);
});

const examples = examplesOf("scorer").filter(({ type }) => LOADS[type] !== undefined);

describe.for(examples)("$name", (example) => {
  it("ranks no endpoint higher for more load", () => {
    fc.assert(
      fc.property(contextFacts, fc.nat(), fc.integer({ min: 1, max: 500 }), (facts, at, amount) => {
        if (facts.candidates.length === 0) return;
        const index = at % facts.candidates.length;
        for (const change of LOADS[example.type]!) {
          const rows = facts.rows.map((row, slot) =>
            slot === facts.candidates[index] ? change(row, amount) : row,
          );
          expect(rankOf(example, { ...facts, rows }, index)).toBeGreaterThanOrEqual(
            rankOf(example, facts, index),
          );
        }
      }),
    );
  });
});

const PREFIX_SCORERS = [
  "prefix-cache-scorer",
  "multicluster-prefix-cache-scorer",
  "precise-prefix-cache-scorer",
  "latency-cost-scorer",
  "pool-cost-scorer",
];

describe.for(examplesOf("scorer").filter(({ type }) => PREFIX_SCORERS.includes(type)))(
  "$name",
  (example) => {
    it("ranks no endpoint lower for holding more of the prompt", () => {
      fc.assert(
        fc.property(contextFacts, fc.nat(), fc.nat(5), (facts, at, more) => {
          if (facts.candidates.length === 0) return;
          const index = at % facts.candidates.length;
          const rows = facts.rows.map((row, slot) => {
            const matchedBlocks = Math.min(facts.totalBlocks, (row.matchedBlocks ?? 0) + more);
            return slot === facts.candidates[index] ? { ...row, matchedBlocks } : row;
          });
          expect(rankOf(example, { ...facts, rows }, index)).toBeLessThanOrEqual(
            rankOf(example, facts, index),
          );
        }),
      );
    });
  },
);

describe.for(examplesOf("data-producer").filter(({ type }) => type.startsWith("predicted-")))(
  "$name",
  ({ type, params }) => {
    const predictionOf = (facts: ContextFacts, slot: number) => {
      const producer: DataProducer = createProducer(type, params);
      producer.produce(contextOf(facts));
      const { isPredicted, ttftMs, tpotMs } = producer.data["latency-prediction"]!;
      return { isPredicted: isPredicted[slot]!, ttft: ttftMs[slot]!, tpot: tpotMs[slot]! };
    };

    it.for([
      { name: "queued", change: MORE_QUEUED },
      { name: "running", change: MORE_RUNNING },
    ])("predicts nobody to be quicker for more $name", ({ change }) => {
      fc.assert(
        fc.property(contextFacts, fc.nat(), fc.integer({ min: 1, max: 500 }), (facts, at, more) => {
          const slot = facts.candidates[at % Math.max(1, facts.candidates.length)];
          if (slot === undefined) return;
          const rows = facts.rows.map((row, other) => (other === slot ? change(row, more) : row));
          const before = predictionOf(facts, slot);
          const after = predictionOf({ ...facts, rows }, slot);
          expect(after.isPredicted).toBe(before.isPredicted);
          if (before.isPredicted !== 1) return;
          expect(after.ttft).toBeGreaterThanOrEqual(before.ttft);
          expect(after.tpot).toBeGreaterThanOrEqual(before.tpot);
        }),
      );
    });
  },
);

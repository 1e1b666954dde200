// llm-d's profiles of scorers, by the shipped plugins under llm-d's configuration, as llm-d drives
// them: the queue is what the last scrape said, without what was sent since, scrapes come every 50 ms
// where ours come every 200, and a prefix counts as cached from the decision on. The index of cached
// prefixes is ours and as large as the engine's cache: upstream's takes the engine's count of blocks
// for one of larger blocks and believes in more than there is.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { ENDPOINTS_MAX } from "../../../src/scheduler/model/endpoint-table.ts";
import { Pool } from "../pool.ts";
import type { Policy, PolicyContext, PolicyDefinition } from "../policy.ts";

const SCRAPE_INTERVAL_MS = 50;

/** `weights` by type of scorer. */
export function llmdProfile(weights: Readonly<Record<string, number>>): unknown {
  const scorers = Object.entries(weights);
  return {
    plugins: [...scorers.map(([type]) => ({ type })), { type: "max-score-picker" }],
    schedulingProfiles: [
      {
        name: "default",
        plugins: [
          ...scorers.map(([pluginRef, weight]) => ({ pluginRef, weight })),
          { pluginRef: "max-score-picker" },
        ],
      },
    ],
  };
}

function create(config: unknown, context: PolicyContext): Policy {
  const picker = new EndpointPicker(schedulerConfigSchema.parse(config));
  const pool = new Pool(context.endpointCount, SCRAPE_INTERVAL_MS);
  const queueDepth = new Int32Array(ENDPOINTS_MAX);
  const endpoints = Object.create(pool.table.columns, {
    queueDepth: { value: queueDepth },
  }) as typeof pool.table.columns;
  return {
    choose(request, nowMs) {
      const picked = picker.pick({
        request: request.inference,
        endpoints,
        pool: pool.table,
        prefixSources: pool.prefixSources,
        nowMs,
        staleAfterMs: pool.staleAfterMs,
        seed: Math.floor(context.rng() * 0x1_0000_0000),
      });
      if (!picked.ok) return [];
      const slot = picked.slots[0]!;
      pool.open(request, { slot, matchedBlocks: picked.matchedBlocks }, nowMs);
      pool.dispatched(request, slot, nowMs);
      return [slot];
    },
    finished: (request, _, how) => pool.finished(request, how),
    shed: (request) => pool.shed(request),
    sampled(slot, sample, sampledAtMs) {
      queueDepth[slot] = sample.waiting ?? 0;
      pool.sampled(slot, sample, sampledAtMs);
    },
  };
}

export const llmdDefault: PolicyDefinition = {
  name: "llm-d-default",
  about: "llm-d without a configuration: queue 2, KV cache utilization 2, prefix cache 3.",
  scrapeIntervalMs: SCRAPE_INTERVAL_MS,
  create: (context) =>
    create(
      llmdProfile({
        "queue-scorer": 2,
        "kv-cache-utilization-scorer": 2,
        "prefix-cache-scorer": 3,
      }),
      context,
    ),
};

export const llmdOptimized: PolicyDefinition = {
  name: "llm-d-optimized",
  about: "llm-d's guide for an optimized baseline: its default with no-hit LRU 2.",
  scrapeIntervalMs: SCRAPE_INTERVAL_MS,
  create: (context) =>
    create(
      llmdProfile({
        "queue-scorer": 2,
        "kv-cache-utilization-scorer": 2,
        "prefix-cache-scorer": 3,
        "no-hit-lru-scorer": 2,
      }),
      context,
    ),
};

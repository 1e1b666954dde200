// llm-d's hub mode: the profile of scorers that picks endpoints picks clusters.
//
//   score = 2 · queue + 2 · (1 − KV usage) + 3 · prefix        queue min-max scaled over clusters
//
// Queue and KV usage are means over a cluster's endpoints, as its two aggregate metrics; what a cluster
// holds is what this isolate has sent there. By the shipped plugins whose formulas they are.
//
// Source: llm-d-router pkg/epp/framework/plugins/**/multicluster*.go, with llm-d's default weights.

import { schedulerConfigSchema } from "../../../../src/scheduler/config/schema.ts";
import { EndpointPicker } from "../../../../src/scheduler/endpoint-picker.ts";
import { llmdProfile } from "../../policies/llm-d.ts";
import { Pool } from "../../pool.ts";
import type { PoolChoiceDefinition } from "../choice.ts";
import { loadOf } from "./ranking.ts";

export const hub: PoolChoiceDefinition = {
  name: "llm-d hub",
  about: "llm-d's hub mode: mean queue 2, mean KV usage 2, prefix by what was sent 3.",
  create({ rttMs, rng, staleAfterMs }) {
    const config = llmdProfile({
      "queue-scorer": 2,
      "kv-cache-utilization-scorer": 2,
      "prefix-cache-scorer": 3,
    });
    const picker = new EndpointPicker(schedulerConfigSchema.parse(config));
    const table = new Pool(rttMs.length, staleAfterMs);
    const { columns } = table.table;
    return {
      choose(request, nowMs) {
        const picked = picker.pick({
          request: request.inference,
          endpoints: columns,
          pool: table.table,
          prefixSources: table.prefixSources,
          nowMs,
          staleAfterMs,
          seed: Math.floor(rng() * 0x1_0000_0000),
        });
        if (!picked.ok) return [];
        const first = picked.slots[0]!;
        table.learn(request, first);
        return [first, ...rttMs.map((_, pool) => pool).filter((pool) => pool !== first)];
      },
      read(pools, nowMs) {
        pools.forEach((pool, slot) => {
          const load = loadOf(pool);
          if (load === undefined) return table.table.forgetLoads(slot);
          const { queueDepth, kvUsage, kvCapacityTokens } = load;
          const sample = {
            waiting: queueDepth,
            kvUsage,
            kvBlockSize: 1,
            kvBlocks: kvCapacityTokens,
          };
          table.sampled(slot, sample, nowMs);
        });
      },
    };
  },
};

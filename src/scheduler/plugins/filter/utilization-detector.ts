// utilization-detector: how full the engines are, by what they report; as a filter, drop the full ones.
//
//   use[i]     = max(queueDepth[i] / queueDepthThreshold, kvUsage[i] / kvCacheUtilThreshold)
//                1 without a fresh sample
//   saturation = mean of use[i]; 1 for a pool without endpoints; may be over 1
//   kept       : queueDepth[i] < queueDepthThreshold × (1 + headroom), and
//                kvUsage[i] < kvCacheUtilThreshold × (1 + headroom), and the sample is fresh
//                all where none would be
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/saturationdetector/utilization. llm-d calls
// a sample stale after metricsStalenessThreshold, 200 ms, while it polls every 50 ms; here that is a
// matter of how often the pool's engines are asked, and the threshold only ever makes it longer. Its
// README caps the limit on kvUsage at 1, its code does not, and neither does this: with more headroom
// a full cache alone drops nobody. The filter fails open, concurrency-detector does not. O(n), no
// allocation.

import { z } from "zod";
import { keepCandidatesOrAll } from "../../candidates.ts";
import { parseDurationMs } from "../../config/quantities.ts";
import { definePlugin, type PickContext } from "../../plugin.ts";

const params = z.strictObject({
  queueDepthThreshold: z.int().min(1).default(5).describe("Waiting requests of a full engine"),
  kvCacheUtilThreshold: z
    .number()
    .positive()
    .max(1)
    .default(0.8)
    .describe("Fraction of KV blocks in use of a full engine"),
  metricsStalenessThreshold: z
    .string()
    .refine((text) => (parseDurationMs(text) ?? 0) > 0, "expected a duration over 0, e.g. 200ms")
    .default("200ms")
    .describe("Age at which a sample is stale, if the pool's own age for that is less"),
  headroom: z
    .number()
    .min(0)
    .default(0)
    .describe("Share by which the filter's limits are over the thresholds"),
});
type Params = z.output<typeof params>;

/** Fractions of a full engine, and the age that a sample may have. */
export interface UtilizationLimits {
  readonly queueDepthThreshold: number;
  readonly kvCacheUtilThreshold: number;
  readonly staleAfterMs: number;
}

/** Saturation of the candidates. */
export function utilizationSaturation(context: PickContext, limits: UtilizationLimits): number {
  const { candidates, candidateCount, endpoints } = context;
  if (candidateCount === 0) return 1;
  const { queueDepthThreshold, kvCacheUtilThreshold } = limits;
  let sum = 0;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (!isYoung(context, slot, limits.staleAfterMs)) sum += 1;
    else {
      const queue = endpoints.queueDepth[slot]! / queueDepthThreshold;
      sum += Math.max(queue, endpoints.kvUsage[slot]! / kvCacheUtilThreshold);
    }
  }
  return sum / candidateCount;
}

function isYoung({ nowMs, endpoints }: PickContext, slot: number, staleAfterMs: number): boolean {
  return nowMs - endpoints.sampledAtMs[slot]! <= staleAfterMs;
}

function createFilter(filled: Params) {
  const thresholdMs = parseDurationMs(filled.metricsStalenessThreshold)!;
  const queueLimit = filled.queueDepthThreshold * (1 + filled.headroom);
  const kvLimit = filled.kvCacheUtilThreshold * (1 + filled.headroom);
  const hasRoom = (context: PickContext, slot: number) => {
    const { endpoints, staleAfterMs } = context;
    return (
      isYoung(context, slot, Math.max(thresholdMs, staleAfterMs)) &&
      endpoints.queueDepth[slot]! < queueLimit &&
      endpoints.kvUsage[slot]! < kvLimit
    );
  };
  return { filter: (context: PickContext) => keepCandidatesOrAll(context, hasRoom) };
}

export const utilizationDetector = definePlugin({
  type: "utilization-detector",
  kinds: ["filter", "flow-control"],
  role: "saturation detector",
  params,
  create: createFilter,
});

// utilization-detector: how full the engines are, by what they report; as a filter, drop the full ones.
//
//   use[i]     = max(queueDepth[i] / queueDepthThreshold, kvUsage[i] / kvCacheUtilThreshold)
//                1 without a fresh sample; with stalenessPolicy ignore it is left out, as is always
//                what nobody samples by design: it says nothing of how full it is
//   saturation = mean of use[i]; 1 for a pool without endpoints, 0 where all are left out; may be over 1
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
import type { SaturationView } from "../../flow-control/contracts.ts";
import { isUnsampled } from "../../freshness.ts";
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
  stalenessPolicy: z
    .enum(["saturated", "ignore"])
    .default("saturated")
    .describe("Whether an endpoint with a stale sample counts as full, or not at all"),
  headroom: z
    .number()
    .min(0)
    .default(0)
    .describe("Share by which the filter's limits are over the thresholds"),
});
type Params = z.output<typeof params>;

/** Time until a sample shows that a request has ended, beyond the age at which samples are stale. */
const SAMPLE_LAG_MS = 250;

/** Fractions of a full engine, and the age that a sample may have. */
export interface UtilizationLimits {
  readonly queueDepthThreshold: number;
  readonly kvCacheUtilThreshold: number;
  /** `saturated` where it is left out. */
  readonly stalenessPolicy?: Params["stalenessPolicy"];
  readonly staleAfterMs: number;
}

/** Saturation of the candidates. */
export function utilizationSaturation(view: SaturationView, limits: UtilizationLimits): number {
  const { candidates, candidateCount, endpoints } = view;
  if (candidateCount === 0) return 1;
  const { queueDepthThreshold, kvCacheUtilThreshold } = limits;
  let sum = 0;
  let counted = 0;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (isUnsampled(view, slot)) continue;
    const isStale = !isYoung(view, slot, limits.staleAfterMs);
    if (isStale && limits.stalenessPolicy === "ignore") continue;
    counted += 1;
    if (isStale) sum += 1;
    else {
      const queue = endpoints.queueDepth[slot]! / queueDepthThreshold;
      sum += Math.max(queue, endpoints.kvUsage[slot]! / kvCacheUtilThreshold);
    }
  }
  return counted === 0 ? 0 : sum / counted;
}

function isYoung(
  { nowMs, endpoints }: SaturationView,
  slot: number,
  staleAfterMs: number,
): boolean {
  return nowMs - endpoints.sampledAtMs[slot]! <= staleAfterMs;
}

function createDetector(filled: Params) {
  const thresholdMs = parseDurationMs(filled.metricsStalenessThreshold)!;
  const staleAfter = (view: SaturationView) => Math.max(thresholdMs, view.staleAfterMs);
  return {
    saturation: (view: SaturationView) =>
      utilizationSaturation(view, { ...filled, staleAfterMs: staleAfter(view) }),
    staleCount(view: SaturationView): number {
      let stale = 0;
      for (let i = 0; i < view.candidateCount; i++)
        if (!isYoung(view, view.candidates[i]!, staleAfter(view))) stale += 1;
      return stale;
    },
    // A dispatch shows in the queue at once, and in the cache only later.
    requestsOfFull: () => filled.queueDepthThreshold,
    lagMs: (staleAfterMs: number) => Math.max(thresholdMs, staleAfterMs) + SAMPLE_LAG_MS,
  };
}

function createFilter(filled: Params) {
  const thresholdMs = parseDurationMs(filled.metricsStalenessThreshold)!;
  const queueLimit = filled.queueDepthThreshold * (1 + filled.headroom);
  const kvLimit = filled.kvCacheUtilThreshold * (1 + filled.headroom);
  const hasRoom = (context: PickContext, slot: number) => {
    const { endpoints, staleAfterMs } = context;
    if (isUnsampled(context, slot)) return true;
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
  kinds: ["filter", "saturation-detector"],
  role: "saturation detector",
  params,
  create: (filled: Params) => ({ ...createFilter(filled), ...createDetector(filled) }),
});

// predicted-ttft-detector: how long a request would wait for its first token.
//
//   ttft[i]    = predicted time to first token of a prompt of promptTokens, none of them cached
//   share[i]   = ttft[i] / targetTtft, at most SHARE_MAX
//   saturation = mean of share[i]; 1 for a pool without endpoints
//   stale      : counts as 1 at best; with stalenessPolicy ignore as what was last known
//
// Source: model/predict-ttft.ts. Ours. It says what the wait is and not what the engines hold: with a target
// of two seconds a pool takes what it can begin in two seconds, on slow GPUs and fast ones alike. The mean
// and not the best endpoint: scorers send a request to where its prompt is cached, and while one endpoint
// stood idle any number would queue up in the others. An endpoint counts as twice full at most, so
// that one with a long queue does not close the pool for those beside it. Each dispatch counts at once, as
// work that its endpoint has to do. O(n), no allocation.

import { z } from "zod";
import { parseDurationMs } from "../../config/quantities.ts";
import type { SaturationView } from "../../flow-control/contracts.ts";
import { predictTtftMs } from "../../model/predict-ttft.ts";
import { defineSaturationDetector } from "../../plugin.ts";

const params = z.strictObject({
  targetTtft: z
    .string()
    .refine((text) => (parseDurationMs(text) ?? 0) > 0, "expected a duration over 0, e.g. 2s")
    .default("2s")
    .describe("Time to the first token at which the pool is full"),
  promptTokens: z.int().min(0).default(1_000).describe("Uncached prompt of the request predicted"),
  stalenessPolicy: z
    .enum(["saturated", "ignore"])
    .default("saturated")
    .describe("Whether an endpoint with a stale sample counts as full, or as it last was"),
});
type Params = z.output<typeof params>;

/** What one endpoint counts at most. */
const SHARE_MAX = 2;
/** From the end of a request until endpoints that were held up by it show it. */
const LAG_MS = 250;

function createDetector({ targetTtft, promptTokens, stalenessPolicy }: Params) {
  const targetMs = parseDurationMs(targetTtft)!;
  const isStale = ({ endpoints, nowMs, staleAfterMs }: SaturationView, slot: number) =>
    nowMs - endpoints.sampledAtMs[slot]! > staleAfterMs;
  return {
    saturation(view: SaturationView): number {
      const { candidates, candidateCount, endpoints, nowMs } = view;
      const request = { nowMs, uncachedTokens: promptTokens };
      if (candidateCount === 0) return 1;
      let sum = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        let share = predictTtftMs(endpoints, slot, request) / targetMs;
        if (stalenessPolicy === "saturated" && isStale(view, slot)) share = Math.max(1, share);
        sum += Math.min(SHARE_MAX, share);
      }
      return sum / candidateCount;
    },
    staleCount(view: SaturationView): number {
      let stale = 0;
      for (let i = 0; i < view.candidateCount; i++)
        if (isStale(view, view.candidates[i]!)) stale += 1;
      return stale;
    },
    requestsOfFull({ candidates, candidateCount, endpoints }: SaturationView): number {
      let sum = 0;
      for (let i = 0; i < candidateCount; i++) {
        const promptMs = Math.max(1, promptTokens) * endpoints.prefillMsPerToken[candidates[i]!]!;
        sum += Math.max(1, targetMs / promptMs);
      }
      return candidateCount === 0 ? 0 : sum / candidateCount;
    },
    lagMs: (staleAfterMs: number) => staleAfterMs + LAG_MS,
  };
}

export const predictedTtftDetector = defineSaturationDetector({
  type: "predicted-ttft-detector",
  role: "saturation detector",
  stability: "fairlead",
  params,
  create: createDetector,
});

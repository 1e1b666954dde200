// predicted-ttft-detector: how long the best endpoint would let a request wait for its first token.
//
//   ttft[i]    = predicted time to first token of a prompt of promptTokens, none of them cached
//   saturation = min over endpoints of ttft[i] / targetTtft; 1 for a pool without endpoints
//   stale      : counts as 1 at best; with stalenessPolicy ignore as what was last known
//
// Source: model/predict-ttft.ts. Ours. It says what the wait is and not what the engines hold: with a target
// of two seconds a pool takes what it can begin in two seconds, on slow GPUs and fast ones alike. The
// best endpoint and not the mean, because the next request goes there; a pool whose scorers send it
// elsewhere, for what is cached there, waits longer. Each dispatch counts at once, as work that its
// endpoint has to do. O(n), no allocation.

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
      let least = candidateCount === 0 ? 1 : Infinity;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        let share = predictTtftMs(endpoints, slot, request) / targetMs;
        if (stalenessPolicy === "saturated" && isStale(view, slot)) share = Math.max(1, share);
        if (share < least) least = share;
      }
      return least;
    },
    staleCount(view: SaturationView): number {
      let stale = 0;
      for (let i = 0; i < view.candidateCount; i++)
        if (isStale(view, view.candidates[i]!)) stale += 1;
      return stale;
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

// lora-affinity-scorer: prefer endpoints that have the request's LoRA adapter loaded, then those that
// could load it at once.
//
//   1    the adapter is active there
//   0.8  fewer adapters are active or waiting than may be active
//   0.6  the adapter waits there to be loaded
//   0    otherwise, and without a fresh sample
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/loraaffinity. A request for the base
// model prefers endpoints with room for an adapter that it does not need; leave the scorer out of pools
// without adapters. The loads it knows are one sample old: two requests for a new adapter within that
// time may go to two endpoints. O(n), no allocation.

import { z } from "zod";
import { isFresh } from "../../freshness.ts";
import { defineScorer, type PickContext } from "../../plugin.ts";

const ACTIVE_SCORE = 1;
const ROOM_SCORE = 0.8;
const WAITING_SCORE = 0.6;

function scoreOf(context: PickContext, slot: number): number {
  if (!isFresh(context, slot)) return 0;
  const { adapters } = context.endpoints;
  const state = adapters.stateOf(slot, context.request.model);
  if (state === "active") return ACTIVE_SCORE;
  const taken = adapters.activeCount(slot) + adapters.waitingCount(slot);
  if (taken < adapters.maxActive(slot)) return ROOM_SCORE;
  return state === "waiting" ? WAITING_SCORE : 0;
}

export const loraAffinityScorer = defineScorer({
  type: "lora-affinity-scorer",
  params: z.strictObject({}),
  create: () => ({
    score(context, out) {
      const { candidates, candidateCount } = context;
      for (let i = 0; i < candidateCount; i++) out[i] = scoreOf(context, candidates[i]!);
    },
  }),
});

// priority-then-time-eviction-order-policy: the lowest priority is ended first, the newest of it before
// others.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/eviction/ordering. The newest has had least
// work done for it.

import { z } from "zod";
import type { DispatchedRequest } from "../../flow-control/contracts.ts";
import { defineEvictionOrder } from "../../plugin.ts";

function endsBefore(a: DispatchedRequest, b: DispatchedRequest): boolean {
  const [priorityA, priorityB] = [a.request.priority, b.request.priority];
  if (priorityA !== priorityB) return priorityA < priorityB;
  return a.dispatchedAtMs > b.dispatchedAtMs;
}

export const priorityThenTimeEvictionOrderPolicy = defineEvictionOrder({
  type: "priority-then-time-eviction-order-policy",
  role: "eviction ordering policy",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({ endsBefore }),
});

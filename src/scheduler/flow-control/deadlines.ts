// When a request's wait ends.
//
//   deadline = min(received + client's TTL,
//                  max(received, last change) + TTL of the pool as it is now,
//                  received + both TTLs)
//
// A pool with endpoints and one without are waited for with different patience: the second is scaled up
// from nothing, the first is merely full. When one becomes the other the budget begins anew, but a pool
// that comes and goes keeps nobody for longer than both budgets.
//
// Source: llm-d-router pkg/epp/flowcontrol/controller. There the client's TTL (x-llm-d-inference-ttl)
// counts only while the pool has endpoints; here it is the client's word on how long it waits, for
// whatever.

import type { QueuedRequest } from "./contracts.ts";

/** Whether the pool has endpoints, and since when. */
export interface PoolRegime {
  readonly hasEndpoints: boolean;
  /** Unix ms; -Infinity before the first change. */
  readonly changedAtMs: number;
}

/** Infinity: for ever. */
export interface QueueTtls {
  readonly withEndpointsMs: number;
  readonly withoutEndpointsMs: number;
}

export function deadlineOf(
  { ttlMs = Infinity }: Pick<QueuedRequest, "ttlMs">,
  receivedAtMs: number,
  ttls: QueueTtls,
  regime: PoolRegime,
): number {
  const budgetMs = regime.hasEndpoints ? ttls.withEndpointsMs : ttls.withoutEndpointsMs;
  return Math.min(
    receivedAtMs + ttlMs,
    Math.max(receivedAtMs, regime.changedAtMs) + budgetMs,
    receivedAtMs + ttls.withEndpointsMs + ttls.withoutEndpointsMs,
  );
}

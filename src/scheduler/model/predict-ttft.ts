// What a request's time to first token would be on an endpoint, from columns alone.
//
//   ttft   = OVERHEAD_MS + wait + memory + uncached × prefillMsPerToken
//   wait   = until the prompts sent there before have been computed
//   memory = waiting requests × their share of KV memory × serviceMs, where that is as good as full
//
// A comparison of configurations rests on it, and a decision's record has all that it reads. It knows
// nothing of the network, of steps that decode many sequences, and of a cache that differs from what
// the router believes: what matters is that its error is alike on all endpoints.

import { isUnsampled } from "../freshness.ts";
import type { EndpointColumns } from "./endpoint-columns.ts";
import { OVERHEAD_MS } from "./engine-speeds.ts";

/** A pool of KV blocks that is fuller admits a request only when another ends. */
const KV_FULL = 0.95;

/** The columns that are read. */
export type TtftColumns = Pick<
  EndpointColumns,
  | "queueDepth"
  | "kvUsage"
  | "kvCapacityTokens"
  | "requestTokens"
  | "prefillBusyUntilMs"
  | "prefillMsPerToken"
  | "serviceMs"
  | "sampledAtMs"
>;

/** `uncachedTokens` are those of the prompt that `slot` would have to compute. */
export function predictTtftMs(
  columns: TtftColumns,
  slot: number,
  { nowMs, uncachedTokens }: { readonly nowMs: number; readonly uncachedTokens: number },
): number {
  const waitMs = Math.max(0, columns.prefillBusyUntilMs[slot]! - nowMs);
  const prefillMs = uncachedTokens * columns.prefillMsPerToken[slot]!;
  return OVERHEAD_MS + waitMs + memoryWaitMs(columns, slot) + prefillMs;
}

/** How long a request waits for others to end because KV memory is as good as full; the part that any has. */
export function memoryWaitMs(columns: TtftColumns, slot: number): number {
  // Who publishes no load by design is not full for that.
  const isFull = columns.kvUsage[slot]! >= KV_FULL && !isUnsampled({ endpoints: columns }, slot);
  // As many end in a service time as fit at once. Where that is not known, one: unknown is worse.
  const share = columns.requestTokens[slot]! / columns.kvCapacityTokens[slot]!;
  return isFull
    ? columns.queueDepth[slot]! * (share > 0 && share < 1 ? share : 1) * columns.serviceMs[slot]!
    : 0;
}

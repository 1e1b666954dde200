// Refusals of a pool's object.

import type { FlowRefusal } from "../scheduler/flow-control/outcomes.ts";
import type { DropReason } from "../scheduler/outcome.ts";
import type { PickRefusal } from "./contract.ts";

/** Why a pick does not wait. */
export const FULL = { reason: "rejected-saturated", detail: "the pool is full" } as const;
export const EMPTY = { reason: "rejected-no-endpoints", detail: "no endpoints available" } as const;

const FAILURE_CHARS_MAX = 200;
/** How soon a refused client may try again: capacity comes back sooner than endpoints do. */
const RETRY_AFTER_MS = {
  "rejected-saturated": 1_000,
  "rejected-no-endpoints": 5_000,
  "rejected-ttl-expired": 1_000,
  "rejected-context-cancelled": 0,
  "rejected-shutting-down": 1_000,
  "evicted-queue-pressure": 1_000,
  evicted: 1_000,
} as const satisfies Record<DropReason, number>;

export function refuse(reason: DropReason, detail: string): PickRefusal {
  return { ok: false, reason, detail, retryAfterMs: RETRY_AFTER_MS[reason] };
}

export function refusalOf({ reason, detail, retryAfterMs }: FlowRefusal): PickRefusal {
  return { ok: false, reason, detail, retryAfterMs };
}

/** The detail is for the log and `explain`; clients do not see it. */
export function failedDecision(error: unknown): PickRefusal {
  const what = String(error).slice(0, FAILURE_CHARS_MAX);
  return refuse("rejected-saturated", `the decision failed: ${what}`);
}

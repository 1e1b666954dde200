// How a request's wait ends when it is not let through. All of these are values: they are part of normal
// operation. The Worker says which status each reason has.

import type { DropReason } from "../outcome.ts";
import type { QueuedRequest } from "./contracts.ts";

export interface FlowRefusal {
  readonly ok: false;
  readonly reason: DropReason;
  /** For people; holds nothing of the request. */
  readonly detail: string;
  /** When trying again makes sense; 0 where it never does. */
  readonly retryAfterMs: number;
}

/** A request that waited, or was let through, and does so no more. */
export interface Ejected extends FlowRefusal {
  readonly request: QueuedRequest;
}

const DETAILS = {
  "rejected-saturated": "the queue is full",
  "rejected-no-endpoints": "no endpoints available",
  "rejected-ttl-expired": "request timed out in queue",
  "rejected-context-cancelled": "client disconnected",
  "rejected-shutting-down": "flow controller shutting down",
  "evicted-queue-pressure": "its place in the queue was needed for a higher priority",
  evicted: "request evicted by flow control",
} as const satisfies Record<DropReason, string>;

export function refusal(
  reason: DropReason,
  retryAfterMs: number,
  detail: string = DETAILS[reason],
): FlowRefusal {
  return { ok: false, reason, detail, retryAfterMs };
}

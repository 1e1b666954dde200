// A request in a queue: its place in the flow's order, and in its band's order of age.

import { CLAIMED_WAIT_MS_MAX, type QueuedRequest, type WaitingRequest } from "./contracts.ts";
import type { Flow } from "./flow.ts";

/** What decides between two requests. */
export interface RankedRequest extends WaitingRequest {
  /** The ordering policy's: lower first. */
  readonly rank: number;
  /** Of equal ranks and arrivals who was enqueued first. */
  readonly sequence: number;
}

export function isServedBefore(a: RankedRequest, b: RankedRequest): boolean {
  return a.rank === b.rank ? isOlder(a, b) : a.rank < b.rank;
}

/** By first arrival, so that a request that is enqueued again is as old as it was. */
export function isOlder(a: RankedRequest, b: RankedRequest): boolean {
  if (a.receivedAtMs !== b.receivedAtMs) return a.receivedAtMs < b.receivedAtMs;
  return a.sequence < b.sequence;
}

/** One entry; its band and the controller keep the indexes. */
export class QueueEntry implements RankedRequest {
  readonly key: string;
  readonly request: QueuedRequest;
  readonly flow: Flow;
  readonly sequence: number;
  readonly enqueuedAtMs: number;
  readonly receivedAtMs: number;
  expiresAtMs = Infinity;
  rank = 0;
  /** In the flow's queue; -1 in none. */
  orderIndex = -1;
  /** Among all of the band; -1 in none. */
  ageIndex = -1;
  /** Of the wheel that ends its wait; -1 without one. */
  timer = -1;
  /** Its Worker is not there to be told: it keeps its place, and is not chosen. */
  isAway = false;
  /** Requests that have ever waited in its flow, with itself. */
  ordinal = 0;

  constructor(
    flow: Flow,
    request: QueuedRequest,
    { nowMs, sequence }: { readonly nowMs: number; readonly sequence: number },
  ) {
    this.key = entryKey(request.requestId, request.attempt);
    this.flow = flow;
    this.request = request;
    this.enqueuedAtMs = nowMs;
    this.receivedAtMs = Math.max(
      nowMs - CLAIMED_WAIT_MS_MAX,
      Math.min(nowMs, request.receivedAtMs),
    );
    this.sequence = sequence;
  }
}

/** Names one entry. */
export function entryKey(requestId: string, attempt: number): string {
  return `${attempt}/${requestId}`;
}

// The RPC between the Worker and the objects: plain values, safe across versions N and N-1.
// Fields are only ever added, as optional ones; a field is never renamed or given a new meaning.

import type { DropReason } from "../scheduler/outcome.ts";
import type { InferenceRequest } from "../scheduler/model/inference-request.ts";

/** A request for endpoints. Idempotent by (request.requestId, attempt). */
export interface PickRequest {
  readonly request: InferenceRequest;
  readonly attempt: number;
  /** Endpoint addresses that already failed for this request. */
  readonly exclude: readonly string[];
}

export interface PickGrant {
  readonly ok: true;
  /** Names the claim on capacity; travels to the relay, which reports its end. */
  readonly ticket: string;
  /** Addresses in the order to try them. */
  readonly endpoints: readonly string[];
  /** Random at each construction of the object. */
  readonly objectEpoch: string;
}

export interface PickRefusal {
  readonly ok: false;
  readonly reason: DropReason;
  readonly detail: string;
  readonly retryAfterMs: number;
}

export type PickResult = PickGrant | PickRefusal;

/** How a ticket's load left the ledger, when the Worker says so itself. */
export type WorkerRelease = "cancelled" | "relay-unreachable" | "unmetered";

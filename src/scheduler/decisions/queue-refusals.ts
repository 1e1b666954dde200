// Who was turned away by a pool's queue, or waited in it in vain. No endpoint was ever looked at for
// them, so there is no decision to record, and a storm of them must not push out the decisions there are.

import { type BareAttempt, NOBODY_SEEN } from "./document.ts";
import { queueOf } from "./explain.ts";
import type { QueueFacts } from "./record.ts";
import type { InferenceRequest } from "../model/inference-request.ts";
import type { DropReason } from "../outcome.ts";

/** About 300 bytes each; the oldest goes for a new one. */
export const QUEUE_REFUSALS_MAX = 1_024;

export interface QueueRefusal {
  readonly request: Pick<
    InferenceRequest,
    "requestId" | "model" | "tenant" | "priority" | "promptTokens" | "bodyBytes"
  >;
  readonly attempt: number;
  /** Unix ms. */
  readonly atMs: number;
  readonly configVersion: number;
  readonly queue: QueueFacts;
  readonly dropped: { readonly reason: DropReason; readonly detail: string };
}

/** The latest refusals of a pool, one a request. */
export class QueueRefusals {
  readonly #max: number;
  /** By request id, oldest first. */
  readonly #attempts = new Map<string, BareAttempt>();

  constructor(max: number = QUEUE_REFUSALS_MAX) {
    this.#max = max;
  }

  get size(): number {
    return this.#attempts.size;
  }

  /** Keeps no reference to any part of `refusal`. */
  add(refusal: QueueRefusal): void {
    const { requestId } = refusal.request;
    this.#attempts.delete(requestId);
    const [oldest] = this.#attempts.keys();
    if (this.#attempts.size >= this.#max && oldest !== undefined) this.#attempts.delete(oldest);
    this.#attempts.set(requestId, refusedAttempt(refusal));
  }

  /** The last attempt of the request that was refused. */
  find(requestId: string): BareAttempt | undefined {
    return this.#attempts.get(requestId);
  }
}

function refusedAttempt({ request, queue, dropped, ...at }: QueueRefusal): BareAttempt {
  return {
    attempt: at.attempt,
    atMs: at.atMs,
    model: request.model,
    tenant: request.tenant,
    priority: request.priority,
    promptTokens: request.promptTokens,
    totalBlocks: 0,
    configVersion: at.configVersion,
    ...NOBODY_SEEN,
    chosen: [],
    dropped: { reason: dropped.reason, detail: dropped.detail },
    result: null,
    queue: queueOf(queue),
    bodyBytes: request.bodyBytes,
  };
}

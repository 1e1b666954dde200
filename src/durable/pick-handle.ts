// What a Worker holds while it serves a request: the right to pick, and the duty to give back.

import { RpcTarget } from "cloudflare:workers";
import type { PickRequest, PickResult, WorkerRelease } from "./contract.ts";

/** Picks one handle may make: the first, and retries. */
export const HANDLE_PICKS_MAX = 8;

/** Who answers a handle's calls. */
export interface PickDesk {
  pick(request: PickRequest, holder: number): PickResult;
  release(ticket: string, how: WorkerRelease, holder: number): void;
  abandon(ticket: string, holder: number): void;
}

/**
 * One request's claim on the pool. The runtime disposes it when the Worker's context ends, however
 * it ends, so a claim never outlives its request: what no relay has taken over is released then.
 */
export class PickHandle extends RpcTarget {
  readonly #desk: PickDesk;
  readonly #holder: number;
  readonly #tickets = new Set<string>();
  #isCancelled = false;

  /** `holder` tells this handle from every other one of the object. */
  constructor(desk: PickDesk, holder: number) {
    super();
    this.#desk = desk;
    this.#holder = holder;
  }

  /** Endpoints for the request. Again with the same attempt: the same answer, while it is open. */
  pick(request: PickRequest): PickResult {
    if (this.#isCancelled) {
      return {
        ok: false,
        reason: "rejected-context-cancelled",
        detail: "the request was cancelled",
        retryAfterMs: 0,
      };
    }
    if (this.#tickets.size >= HANDLE_PICKS_MAX) {
      return {
        ok: false,
        reason: "rejected-saturated",
        detail: `one request may pick ${HANDLE_PICKS_MAX} times`,
        retryAfterMs: 1_000,
      };
    }
    const result = this.#desk.pick(request, this.#holder);
    if (result.ok) this.#tickets.add(result.ticket);
    return result;
  }

  /** The client is gone: releases everything, and refuses what may still arrive. */
  cancel(): void {
    this.#isCancelled = true;
    this.release("cancelled");
  }

  /** Releases the load of every pick of this handle, in the Worker's words. */
  release(how: WorkerRelease): void {
    for (const ticket of this.#tickets) this.#desk.release(ticket, how, this.#holder);
  }

  [Symbol.dispose](): void {
    for (const ticket of this.#tickets) this.#desk.abandon(ticket, this.#holder);
  }
}

// One request's dealings with one pool's object: the handle, its picks, and giving back.

import { poolsFor } from "../../config/coordinators.ts";
import type { PickRequest, PickResult, WorkerRelease } from "../../durable/contract.ts";
import { withDeadline } from "../shared-copy.ts";

/** How long a pick may take. Nothing waits in the object for capacity, so it is short. */
export const PICK_DEADLINE_MS = 5_000;
/** A pause before the one retry of a call that the runtime calls retryable. */
const RETRY_PAUSE_MS = { min: 20, max: 80 } as const;

/** The object could not be asked: unreachable, overloaded, or too slow. */
export interface PoolUnavailable {
  readonly ok: false;
  readonly reason: "unavailable";
  readonly detail: string;
}

/**
 * A PickHandle on its way. It can be called at once: the calls are pipelined, in one round trip. It
 * is written out because the generated type of a stub that comes through two RPCs has no methods.
 */
export interface OpeningHandle extends Disposable {
  pick(request: PickRequest): Promise<PickResult>;
  release(how: WorkerRelease): Promise<void>;
  cancel(): Promise<void>;
}

/** Opens a handle on the pool of this name. */
export function openHandle(env: Env, pool: string): OpeningHandle {
  return poolsFor(env, pool).open(pool) as unknown as OpeningHandle;
}

/**
 * The runtime disposes the handle when the Worker's context ends, and the object then releases what
 * no relay has taken over. So whoever holds a session keeps the context alive as long as the ticket
 * is the Worker's to guard, and disposes the session after that.
 */
export class PoolSession {
  readonly #open: () => OpeningHandle;
  #handle: OpeningHandle;

  constructor(open: () => OpeningHandle) {
    this.#open = open;
    this.#handle = open();
  }

  /** Asks for endpoints. Idempotent by (request id, attempt), so one lost answer may be asked again. */
  async pick(request: PickRequest): Promise<PickResult | PoolUnavailable> {
    for (let isRetry = false; ; isRetry = true) {
      try {
        return await withDeadline(this.#handle.pick(request), PICK_DEADLINE_MS);
      } catch (error) {
        if (isRetry || !isRetryable(error)) {
          return { ok: false, reason: "unavailable", detail: describe(error) };
        }
      }
      await pause();
      // A stub that has failed once stays broken.
      this[Symbol.dispose]();
      this.#handle = this.#open();
    }
  }

  /** Gives back what was picked, because it will not be used. */
  release(how: WorkerRelease): void {
    // A lost call is as good: the disposal releases the ticket too, or its lease expires.
    void this.#handle.release(how).catch(() => undefined);
  }

  /** The client has left. */
  cancel(): void {
    void this.#handle.cancel().catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}

/** An overloaded object gets no second call; what the deadline ended is not retryable either. */
function isRetryable(error: unknown): boolean {
  const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
  return retryable === true && overloaded !== true;
}

function describe(error: unknown): string {
  const isOverloaded = (error as { overloaded?: boolean }).overloaded === true;
  if (isOverloaded) return "the pool's object is overloaded";
  return error instanceof Error ? error.message : "the pool's object failed";
}

function pause(): Promise<void> {
  const ms = RETRY_PAUSE_MS.min + Math.random() * (RETRY_PAUSE_MS.max - RETRY_PAUSE_MS.min);
  return new Promise((resolve) => setTimeout(resolve, ms));
}

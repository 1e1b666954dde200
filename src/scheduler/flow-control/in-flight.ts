// Requests that were let through and have not ended.
//
// Everything here is bounded and expires: an end that is never told must not keep its flow for ever.

import { IndexedHeap } from "../support/indexed-heap.ts";
import type {
  DispatchedRequest,
  EvictionFilter,
  EvictionOrder,
  QueuedRequest,
} from "./contracts.ts";
import type { Flow } from "./flow.ts";

/** More than any pool's ledger tracks. */
export const IN_FLIGHT_MAX = 65_536;
/** After it a request counts as ended, with the tokens that were expected. */
export const IN_FLIGHT_TTL_MS = 3_600_000;

/** Who may be ended for somebody of a higher priority, and in which order. */
export interface EvictionPolicies {
  readonly filter: EvictionFilter;
  readonly order: EvictionOrder;
}

export interface InFlightRequest extends DispatchedRequest {
  readonly key: string;
  readonly flow: Flow;
  /** Among those that may be evicted; -1 for one that may not. */
  evictionIndex: number;
}

export class InFlight {
  readonly #eviction: EvictionPolicies | undefined;
  /** In the order they were let through. */
  readonly #byKey = new Map<string, InFlightRequest>();
  readonly #evictable: IndexedHeap<InFlightRequest>;

  constructor(eviction?: EvictionPolicies) {
    this.#eviction = eviction;
    this.#evictable = new IndexedHeap<InFlightRequest>(
      (a, b) => eviction!.order.endsBefore(a, b),
      (dispatched, index) => void (dispatched.evictionIndex = index),
    );
  }

  get size(): number {
    return this.#byKey.size;
  }

  get evictableCount(): number {
    return this.#evictable.size;
  }

  /** Who would be ended first. */
  get victim(): InFlightRequest | undefined {
    return this.#evictable.first;
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  add(key: string, flow: Flow, request: QueuedRequest, nowMs: number): void {
    const dispatched = { key, flow, request, dispatchedAtMs: nowMs, evictionIndex: -1 };
    this.#byKey.set(key, dispatched);
    if (this.#eviction?.filter.mayEvict(dispatched) === true) this.#evictable.add(dispatched);
  }

  /** It has emitted a byte, or is ended already: nobody ends it for another. */
  protect(dispatched: InFlightRequest | undefined): void {
    if (dispatched !== undefined && dispatched.evictionIndex >= 0)
      this.#evictable.removeAt(dispatched.evictionIndex);
  }

  get(key: string): InFlightRequest | undefined {
    return this.#byKey.get(key);
  }

  /** undefined for one that is not known, or has ended before. */
  end(key: string): InFlightRequest | undefined {
    const dispatched = this.#byKey.get(key);
    if (dispatched === undefined) return undefined;
    this.#byKey.delete(key);
    this.protect(dispatched);
    return dispatched;
  }

  /** One whose end is not going to be told any more, if there is one. */
  overdue(nowMs: number): InFlightRequest | undefined {
    const [oldest] = this.#byKey.values();
    if (oldest === undefined) return undefined;
    const isOver = nowMs - oldest.dispatchedAtMs >= IN_FLIGHT_TTL_MS;
    return isOver || this.#byKey.size > IN_FLIGHT_MAX ? oldest : undefined;
  }
}

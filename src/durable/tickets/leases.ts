// The tickets that a ledger knows, by name, by request, and by when their lease ends.

import type { TicketState } from "./ticket.ts";

export class Leases {
  readonly #byRequest = new Map<string, TicketState>();
  // Each lease is constant, so insertion order is order of expiry: a sweep looks at the heads only.
  readonly #beforeRelay = new Map<string, TicketState>();
  readonly #afterLeft = new Map<string, TicketState>();
  readonly #withRelay = new Map<string, TicketState>();
  readonly #unsettled = new Map<string, TicketState>();

  /** Tickets that load an endpoint. */
  get openCount(): number {
    return this.#beforeRelay.size + this.#afterLeft.size + this.#withRelay.size;
  }

  get size(): number {
    return this.openCount + this.#unsettled.size;
  }

  get(id: string): TicketState | undefined {
    return this.open(id) ?? this.#unsettled.get(id);
  }

  open(id: string): TicketState | undefined {
    return this.#beforeRelay.get(id) ?? this.#withRelay.get(id) ?? this.#afterLeft.get(id);
  }

  /** The open ticket of a pick; one that was put back is not found so. */
  ofRequest(requestId: string, attempt: number): TicketState | undefined {
    return this.#byRequest.get(requestKey(requestId, attempt));
  }

  /** Makes the ticket the one of its pick. */
  claimRequest(ticket: TicketState): void {
    this.#byRequest.set(requestKey(ticket.requestId, ticket.attempt), ticket);
  }

  /** The same, unless its pick has one. */
  claimFreeRequest(ticket: TicketState): void {
    const key = requestKey(ticket.requestId, ticket.attempt);
    if (!this.#byRequest.has(key)) this.#byRequest.set(key, ticket);
  }

  /** Its lease ends later than any that was given so before. */
  leaseBeforeRelay(ticket: TicketState): void {
    this.#beforeRelay.set(ticket.id, ticket);
  }

  /** The same, in the place of the lease before a relay. */
  leaseAfterLeft(ticket: TicketState): void {
    this.#beforeRelay.delete(ticket.id);
    this.#afterLeft.set(ticket.id, ticket);
  }

  /** The same, in the place of the lease it had. */
  leaseToRelay(ticket: TicketState): void {
    this.#beforeRelay.delete(ticket.id);
    this.#afterLeft.delete(ticket.id);
    this.#withRelay.delete(ticket.id);
    this.#withRelay.set(ticket.id, ticket);
  }

  /** Its load has left: what it waits for now is to be settled. */
  released(ticket: TicketState): void {
    const key = requestKey(ticket.requestId, ticket.attempt);
    if (this.#byRequest.get(key) === ticket) this.#byRequest.delete(key);
    this.#beforeRelay.delete(ticket.id);
    this.#afterLeft.delete(ticket.id);
    this.#withRelay.delete(ticket.id);
    this.#unsettled.set(ticket.id, ticket);
  }

  forget(ticket: TicketState): void {
    this.#unsettled.delete(ticket.id);
  }

  /** Of those that are only to be settled, the one that waits longest. */
  get oldestUnsettled(): TicketState | undefined {
    const [oldest] = this.#unsettled.values();
    return oldest;
  }

  /** Whose lease has ended and whose load has not. Each may be released as it comes. */
  *expired(nowMs: number): Generator<TicketState> {
    yield* dueOf(this.#beforeRelay, nowMs);
    yield* dueOf(this.#afterLeft, nowMs);
    yield* dueOf(this.#withRelay, nowMs);
  }

  /** Who has waited long enough to be settled. Each may be forgotten as it comes. */
  unsettledDue(nowMs: number): Generator<TicketState> {
    return dueOf(this.#unsettled, nowMs);
  }

  withRelay(): Iterable<TicketState> {
    return this.#withRelay.values();
  }

  *all(): Generator<TicketState> {
    yield* this.#beforeRelay.values();
    yield* this.#afterLeft.values();
    yield* this.#withRelay.values();
    yield* this.#unsettled.values();
  }
}

function* dueOf(leases: ReadonlyMap<string, TicketState>, nowMs: number): Generator<TicketState> {
  for (const ticket of leases.values()) {
    if (ticket.dueAtMs > nowMs) return;
    yield ticket;
  }
}

/** A request id never holds a line feed: it comes from a header. */
function requestKey(requestId: string, attempt: number): string {
  return `${requestId}\n${attempt}`;
}

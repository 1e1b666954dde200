// Tickets that are settled although a report of them may still come: their relay fell silent and they
// were settled by estimate, or they are of an earlier life of the object. The ledger asks before it
// takes up a ticket it does not know, so that none counts twice.

import { SETTLED_ROWS_MAX } from "../pool-storage.ts";

export class SettledTickets {
  readonly #isStored: (ticket: string) => boolean;
  readonly #pending = new Set<string>();

  /** `isStored` looks among the tickets that were taken and written before. */
  constructor(isStored: (ticket: string) => boolean) {
    this.#isStored = isStored;
  }

  /** Remembers a ticket. What is more than the store keeps is forgotten here, the oldest first. */
  add(ticket: string): void {
    this.#pending.add(ticket);
    if (this.#pending.size <= SETTLED_ROWS_MAX) return;
    const [oldest] = this.#pending;
    this.#pending.delete(oldest!);
  }

  has(ticket: string): boolean {
    return this.#pending.has(ticket) || this.#isStored(ticket);
  }

  /** What was added since the last call; the caller stores it together with the usage. */
  take(): string[] {
    const tickets = [...this.#pending];
    this.#pending.clear();
    return tickets;
  }
}

// Isolates' tickets that have ended here, so that what is told of them later changes nothing. Their isolate tells
// of a request after it has sent it: a short one may have ended by then.
//
//   known of     what comes later         becomes
//   closed       opened, closed           nothing
//   closed       commit                   a lesson: whose prompt it was that the endpoint has read
//   left         commit                   nothing: nobody carries it, as far as its Worker knows
//   left         opened, closed           as of a ticket that was never heard of
//
// In memory only. What is lost with it is told again by relays' reports, or ends with the lease.

import { NO_SLOT, type TicketEnd } from "./ticket.ts";

/** As many as there may be tickets at once. The oldest are forgotten first. */
export const ENDED_TICKETS_MAX = 20_000;

/** What became of it, as far as its commit has still to learn it; null where that has come. */
type Ended = { end: TicketEnd | null };

const LEFT = "left";

export class EndedTickets {
  readonly #byId = new Map<string, Ended | typeof LEFT>();

  /** A relay has reported its end, or it was settled without. `end`: where its commit has not come. */
  closed(id: string, end: TicketEnd | null): void {
    this.#set(id, { end });
  }

  /** Its Worker has given it up, or nobody was heard of that carries it. */
  left(id: string): void {
    if (!this.isClosed(id)) this.#set(id, LEFT);
  }

  /** Nobody has told its end in time. */
  givenUp(id: string, isVoid: boolean): void {
    if (isVoid) this.left(id);
    else this.closed(id, null);
  }

  isClosed(id: string): boolean {
    return typeof this.#byId.get(id) === "object";
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** How a closed ticket ended; once. */
  takeEnd(id: string): TicketEnd | undefined {
    const ended = this.#byId.get(id);
    if (typeof ended !== "object" || ended.end === null) return undefined;
    const { end } = ended;
    ended.end = null;
    return end;
  }

  endpointRemoved(slot: number): void {
    for (const ended of this.#byId.values()) {
      if (ended === LEFT || ended.end?.slot !== slot) continue;
      ended.end = { ...ended.end, slot: NO_SLOT };
    }
  }

  #set(id: string, ended: Ended | typeof LEFT): void {
    this.#byId.delete(id);
    this.#byId.set(id, ended);
    if (this.#byId.size <= ENDED_TICKETS_MAX) return;
    const [oldest] = this.#byId.keys();
    this.#byId.delete(oldest!);
  }
}

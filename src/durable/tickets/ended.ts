// Isolates' tickets that have ended here, so that what is told of them later changes nothing. Their isolate tells
// of a request after it has sent it: a short one may have ended by then.
//
//   known of     what comes later         becomes
//   closed       opened, closed           nothing
//   closed       commit                   a dispatch that is over, and its lessons, once: who has read the prompt, and how
//                                         fast
//   gone         commit                   nothing: nobody carries it, as far as its Worker knows
//   left         commit                   a ticket, where a relay may have it
//   gone, left   opened, closed           as of a ticket that was never heard of, but for a commit told before
//
// In memory only. What is lost with it is told again by relays' reports, or ends with the lease.

import { NO_SLOT, type TicketEnd } from "./ticket.ts";

/** As many as there may be tickets at once. The oldest are forgotten first. */
export const ENDED_TICKETS_MAX = 20_000;

interface Ended {
  /**
   * `closed`: a relay has reported its end, or it was settled without. `gone`: its Worker has given it up, or nobody
   * was heard of that carries it. `left`: nobody there will say more of it.
   */
  readonly how: "closed" | "gone" | "left";
  /** Its commit has come. */
  readonly isTold: boolean;
  /** What its commit has still to learn; null where there is nothing. */
  readonly end: TicketEnd | null;
  /** A ticket stood for it: its load was counted. */
  readonly wasOpen: boolean;
}

/** What its commit learns of one that was closed before. */
export type EndBefore = Pick<Ended, "wasOpen"> & { readonly end: TicketEnd };

export class EndedTickets {
  readonly #byId = new Map<string, Ended>();

  /** `ticket`: what stood for it; `isCommitted`: its commit has come. */
  closed(id: string, end: TicketEnd, ticket?: { readonly isCommitted: boolean }): void {
    const isTold = ticket?.isCommitted === true || this.isTold(id);
    const wasOpen = ticket !== undefined;
    this.#set(id, { how: "closed", isTold, end: isTold ? null : end, wasOpen });
  }

  /** Its Worker has said the last of one that is not known here. */
  left(id: string, how: "gone" | "left"): void {
    if (!this.isClosed(id)) this.#set(id, { how, isTold: this.isTold(id), ...NO_LESSON });
  }

  /** Nobody has told its end in time. */
  givenUp(id: string, { isVoid, isTold }: { readonly isVoid: boolean; readonly isTold: boolean }) {
    if (isVoid && this.isClosed(id)) return;
    const isKnown = isTold || this.isTold(id);
    this.#set(id, { how: isVoid ? "gone" : "closed", isTold: isKnown, ...NO_LESSON });
  }

  isClosed(id: string): boolean {
    return this.#byId.get(id)?.how === "closed";
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** A relay may have it, and say so yet. */
  mayRun(id: string): boolean {
    return this.#byId.get(id)?.how === "left";
  }

  isTold(id: string): boolean {
    return this.#byId.get(id)?.isTold === true;
  }

  /** How a closed ticket ended; once. */
  takeEnd(id: string): EndBefore | undefined {
    const ended = this.#byId.get(id);
    if (ended === undefined || ended.end === null) return undefined;
    this.#byId.set(id, { ...ended, isTold: true, end: null });
    return { end: ended.end, wasOpen: ended.wasOpen };
  }

  endpointRemoved(slot: number): void {
    for (const [id, ended] of this.#byId) {
      if (ended.end?.slot !== slot) continue;
      this.#byId.set(id, { ...ended, end: { ...ended.end, slot: NO_SLOT } });
    }
  }

  #set(id: string, ended: Ended): void {
    this.#byId.delete(id);
    this.#byId.set(id, ended);
    if (this.#byId.size <= ENDED_TICKETS_MAX) return;
    const [oldest] = this.#byId.keys();
    this.#byId.delete(oldest!);
  }
}

const NO_LESSON = { end: null, wasOpen: false } as const;

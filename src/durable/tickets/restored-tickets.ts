// Tickets that are known by a relay's report alone: of an earlier life of the object, and isolates' whose commit has
// not come.
//
//   opened ──► put back, with what its name and the report tell    no-room: nothing, its end is reported, too
//   closed ──► settled, unless it was before
//
// Reports of relays that do not say whose a ticket is change nothing. What only an isolate knows of its own comes with
// its commit: see local-tickets.ts.

import {
  isEdgeTicket,
  parseTicketName,
  type TicketName,
} from "../../agents/protocol/ticket-name.ts";
import type { EndedTickets } from "./ended.ts";
import type { Leases } from "./leases.ts";
import type { LedgerOptions } from "./ledger-options.ts";
import type { TicketLoad } from "./ticket-load.ts";
import {
  restoredTicket,
  type Settlement,
  settlementOf,
  type TicketEnd,
  type TicketRoom,
  type TicketState,
  type TicketSubject,
} from "./ticket.ts";

export interface RestoredTicketsOptions extends Pick<
  LedgerOptions,
  "epoch" | "isSettled" | "onRestored"
> {
  readonly leases: Leases;
  readonly ended: EndedTickets;
  readonly load: TicketLoad;
  readonly makeRoom: () => TicketRoom;
  readonly leaseToRelay: (ticket: TicketState) => void;
}

/** A report, and of which ticket: one that is not in the ledger as this attempt's. */
interface ReportedTicket {
  readonly id: string;
  readonly attempt: number;
  /** Undefined: the relay does not say whose it is. */
  readonly subject: TicketSubject | undefined;
}

export class RestoredTickets {
  readonly #options: RestoredTicketsOptions;

  constructor(options: RestoredTicketsOptions) {
    this.#options = options;
  }

  /** Whether it was not named in this life of the object. */
  isEarlier(id: string): boolean {
    return !id.startsWith(`${this.#options.epoch}-`);
  }

  /** Puts the ticket back, at `slot`. Returns what was settled by estimate to make room for it. */
  opened({ id, attempt, subject }: ReportedTicket, slot: number): Settlement | undefined {
    const name = this.#nameOf(id);
    if (name === undefined || subject === undefined) return undefined;
    const { ended, load, makeRoom, leaseToRelay, onRestored } = this.#options;
    const { hasRoom, settlement } = makeRoom();
    if (!hasRoom || !isEdgeTicket(id)) onRestored?.(hasRoom ? "opened" : "no-room");
    if (!hasRoom) return undefined;
    const ticket = restoredTicket({ ...name, ...subject, id, attempt, slot });
    // It was forgotten here. What only its isolate knows is not told twice.
    ticket.isCommitted = ended.isTold(id);
    // Not found by its request: whoever picks again has lost the answer, and so this ticket.
    leaseToRelay(ticket);
    // Its prompt was most likely computed in the object's earlier life.
    load.dispatch(ticket, false);
    return settlement;
  }

  /** Its usage, once. */
  closed({ id, attempt, subject }: ReportedTicket, end: TicketEnd): Settlement | undefined {
    const name = this.#nameOf(id);
    if (name === undefined || subject === undefined) return undefined;
    const isEdge = isEdgeTicket(id);
    if (isEdge) this.#options.ended.closed(id, end);
    else this.#options.onRestored?.("closed");
    return settlementOf({ ...name, ...subject, id, attempt }, end, !isEdge);
  }

  /** Undefined unless the ticket is of an earlier life, is not in the ledger and was not settled. */
  #nameOf(id: string): TicketName | undefined {
    const { leases, ended, isSettled, onRestored } = this.#options;
    if (!this.isEarlier(id) || leases.get(id) !== undefined || ended.isClosed(id)) return undefined;
    const name = parseTicketName(id);
    if (name === undefined || isSettled?.(id) !== true) return name;
    onRestored?.("settled-before");
    return undefined;
  }
}

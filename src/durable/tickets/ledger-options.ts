// What a ledger is made of, and its bounds.

import type { Clock } from "../../scheduler/support/clock.ts";
import type { PrefixLearner } from "../prefix/claims.ts";
import type { EndpointLoad } from "./ticket-load.ts";
import type { ReleasedBy, ReleasedTicket } from "./ticket.ts";

export const TICKET_LIMITS = {
  /** Tickets known at once, open or not settled. Past it picks are refused. */
  ticketsMax: 20_000,
  /** Content keys kept for learning, over all tickets. A ticket past it teaches nothing. */
  keyBytesMax: 16 * 1024 * 1024,
  /** Lease of a ticket that no relay has taken yet. */
  beforeRelayMs: 30_000,
  /** The same once its isolate has left: a relay that has it is heard of by then, unless it is cut off. */
  afterLeftMs: 3_000,
  /** Lease of a ticket a relay has; each `opened` renews it. */
  withRelayMs: 600_000,
  /** From release to an estimated settlement. */
  settleMs: 60_000,
} as const;

/** What became of a report about a ticket of an earlier life. Closed set; a metric label. */
export type RestoreOutcome = "opened" | "closed" | "settled-before" | "no-room";

export interface LedgerOptions {
  /** Starts every ticket's name, so that tickets of an earlier life are told apart. */
  readonly epoch: string;
  readonly clock: Clock;
  readonly load: EndpointLoad;
  readonly learner: PrefixLearner;
  readonly limits?: TicketLimits;
  readonly onReleased?: (by: ReleasedBy, ticket: ReleasedTicket) => void;
  /** Whether a ticket of an earlier life was settled: see Settlement.mayBeReported. */
  readonly isSettled?: (ticket: string) => boolean;
  readonly onRestored?: (outcome: RestoreOutcome) => void;
}

export type TicketLimits = Readonly<Record<keyof typeof TICKET_LIMITS, number>>;

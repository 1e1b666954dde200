// Tickets of requests that isolates have decided on alone. An isolate tells of them afterwards, in batches, and
// relays' reports may come before:
//
//   commit ──► open ─────────────────────────closed──► …          as of a pick's
//   commit ──► open ──opened──► with relay ──closed──► …          of one that takes long
//   opened ──► with relay, put back by its name ──commit──► … completed with what only the isolate knows
//   closed ──► settled ──commit──► a dispatch that is over at once, and its lessons
//
// No such ticket is settled by an estimate unless a relay has had it: the relays of today report the end of
// each, also to an object that does not know it.

import type { Clock } from "../../scheduler/support/clock.ts";
import type { EndedTickets } from "./ended.ts";
import type { Leases } from "./leases.ts";
import type { TicketLimits } from "./ledger-options.ts";
import type { Lessons } from "./lessons.ts";
import type { Prefills, PrefillSpec } from "./prefills.ts";
import { computesPrompt } from "./speed-lesson.ts";
import type { TicketLoad } from "./ticket-load.ts";
import {
  beginTicket,
  NO_HOLDER,
  NO_SLOT,
  type Settlement,
  type TicketEnd,
  type TicketRoom,
  type TicketSpec,
  type TicketState,
} from "./ticket.ts";

/** A commit, as far as the ledger is concerned. */
export interface CommittedSpec extends Omit<TicketSpec, "holder" | "prefill"> {
  /** Its name. */
  readonly id: string;
  readonly decidedAgoMs: number;
  readonly prefill?: PrefillSpec | undefined;
}

/**
 * What a commit came to. `known`: it was told before. `ended`: a relay had reported its end, or its Worker
 * had given it up. `late`: it is so old that it may have ended and be forgotten. Closed set; a metric label.
 */
export type CommitOutcome = "opened" | "completed" | "known" | "ended" | "late" | "no-room";

export interface Committed {
  readonly outcome: CommitOutcome;
  /** Of one that had ended, where that is known and is told the first time. */
  readonly end?: TicketEnd;
  /** Of another ticket, which has made room. */
  readonly settlement?: Settlement | undefined;
}

export interface LocalTicketsOptions {
  readonly clock: Clock;
  readonly leases: Leases;
  readonly lessons: Lessons;
  readonly prefills: Prefills;
  readonly load: TicketLoad;
  readonly ended: EndedTickets;
  readonly limits: Pick<TicketLimits, "beforeRelayMs" | "afterLeftMs">;
  readonly makeRoom: () => TicketRoom;
  /** Of one that no relay will take. */
  readonly leaseToWorker: (ticket: TicketState) => void;
}

export class LocalTickets {
  readonly #options: LocalTicketsOptions;

  constructor(options: LocalTicketsOptions) {
    this.#options = options;
  }

  commit(spec: CommittedSpec): Committed {
    const { leases, ended, limits, makeRoom } = this.#options;
    const known = leases.get(spec.id);
    if (known !== undefined)
      return { outcome: this.#complete(known, spec) ? "completed" : "known" };
    const mayRun = ended.mayRun(spec.id) && spec.isWorkers !== true;
    if (ended.has(spec.id) && !mayRun) return this.#endedBefore(spec);
    if (spec.decidedAgoMs >= limits.beforeRelayMs) return { outcome: "late" };
    const { hasRoom, settlement } = makeRoom();
    if (!hasRoom) return { outcome: "no-room" };
    const ticket = this.#open(spec);
    if (mayRun) this.left(ticket);
    return { outcome: "opened", settlement };
  }

  /** Whether it was told of: it is open, or has ended. */
  knows(id: string): boolean {
    const { leases, ended } = this.#options;
    return leases.get(id) !== undefined || ended.has(id);
  }

  /** Its isolate tells no more of it. Where no relay is heard of in a moment, nobody has it. */
  left(ticket: TicketState): void {
    const { clock, leases, limits } = this.#options;
    const isBeforeRelay = leases.open(ticket.id) === ticket && !ticket.isWithRelay;
    const dueAtMs = clock() + limits.afterLeftMs;
    // Told again, or so late that its lease ends before: it has that.
    if (!isBeforeRelay || dueAtMs >= ticket.dueAtMs) return;
    ticket.dueAtMs = dueAtMs;
    leases.leaseAfterLeft(ticket);
  }

  #open(spec: CommittedSpec): TicketState {
    const { clock, leases, lessons, prefills, load } = this.#options;
    const { limits, leaseToWorker } = this.#options;
    const { prefill } = spec;
    const ticket = beginTicket(spec, {
      id: spec.id,
      holder: NO_HOLDER,
      isCommitted: true,
      keys: lessons.keep(spec.keys),
      // Not sooner for having been decided on before: those of one lease end in the order they came.
      dueAtMs: clock() + limits.beforeRelayMs,
      prefill: prefill && prefills.begin(prefill, spec.promptTokens),
    });
    // Its Worker may have asked the object for the same attempt before, and lost the answer.
    leases.claimFreeRequest(ticket);
    if (spec.isWorkers === true) leaseToWorker(ticket);
    else leases.leaseBeforeRelay(ticket);
    // It has been sent. Its relay says so only if it takes long.
    lessons.teach(ticket, ticket.slot);
    prefills.teach(ticket);
    load.dispatchBefore(ticket, spec.decidedAgoMs);
    return ticket;
  }

  /** A relay's report has put it back. False if it was told before, or is no isolate's. */
  #complete(ticket: TicketState, spec: CommittedSpec): boolean {
    if (ticket.isCommitted || ticket.holder !== NO_HOLDER) return false;
    const { leases, lessons, load } = this.#options;
    ticket.isCommitted = true;
    ticket.endpoints = spec.endpoints;
    ticket.keys = lessons.keep(spec.keys);
    if (ticket.releasedBy !== null) return true;
    leases.claimFreeRequest(ticket);
    lessons.teach(ticket, ticket.slot);
    // A prefill elsewhere may have been reported before: what it loads is in that engine's own numbers.
    if (spec.prefill === undefined && computesPrompt(ticket)) load.addPrompt(ticket);
    return true;
  }

  #endedBefore(spec: CommittedSpec): Committed {
    const { ended, lessons } = this.#options;
    const before = ended.takeEnd(spec.id);
    if (before === undefined) return { outcome: "ended" };
    const { end, wasOpen } = before;
    lessons.confirm(spec.keys, end);
    // Who was asked elsewhere has a ticket.
    if (!wasOpen && end.slot === spec.slot) this.#pass(spec, end);
    return { outcome: "ended", end };
  }

  /** Both have come in the wrong order: what the end leaves and teaches is the same. */
  #pass(spec: CommittedSpec, end: TicketEnd): void {
    const { prefills, load } = this.#options;
    const { prefill } = spec;
    const ticket = beginTicket(spec, {
      id: spec.id,
      holder: NO_HOLDER,
      isCommitted: true,
      keys: null,
      dueAtMs: 0,
      prefill: prefill && prefills.begin(prefill, spec.promptTokens),
    });
    load.dispatchBefore(ticket, spec.decidedAgoMs);
    load.learn(ticket, end);
    load.move(ticket, NO_SLOT);
    prefills.released(ticket);
  }
}

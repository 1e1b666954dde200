// The claims on a pool's capacity: which requests load which endpoint, and what became of them.
//
// A ticket has two independent ends. *Released*: its load leaves the endpoint; by the first of the
// relay's report, the relay's restart, the Worker's handle, and expiry. *Settled*: its usage is known;
// by the relay's report, or as an estimate SETTLE_MS after the release. It is forgotten when both have
// happened.
//
//   open ──opened──► with relay ──closed──► released + settled ──► forgotten
//    │ handle, 30 s       │ handle cancelled, 10 min                   ▲
//    └────────────────────┴──► released, not settled ──closed, 60 s────┘
//
// Reports may come late, twice or in the wrong order: each end happens once, and a report about a
// forgotten ticket changes nothing. A ticket that the Worker gives back before a relay was heard of
// it waits as well, but as void: only a report can still make it count.
//
// The ledger is lost with the object's memory; relays then say again what they carry: restored-tickets.ts.
//
// Where another endpoint computes the prompt it carries that part, as prefills.ts has it: this one carries the
// memory of prompt and answer, and no prompt's work.

import { assert } from "../../scheduler/support/assert.ts";
import { callOff, carried, endedFirst, mayBeCarried, stand } from "./called-off.ts";
import { EndedTickets } from "./ended.ts";
import { Leases } from "./leases.ts";
import { Lessons } from "./lessons.ts";
import { LocalTickets } from "./local-tickets.ts";
import {
  beginTicket,
  estimateOf,
  isUnheardOf,
  NO_HOLDER,
  NO_SLOT,
  type RelayLife,
  type ReleasedBy,
  type Settlement,
  settlementOf,
  type Ticket,
  type TicketEnd,
  type TicketRoom,
  type TicketSpec,
  type TicketState,
  type TicketSubject,
} from "./ticket.ts";
import { encodeTicketName, isEdgeTicket } from "../../agents/protocol/ticket-name.ts";
import type { Believed } from "../kv/resident-knowledge.ts";
import { PrefixClaims } from "../prefix/claims.ts";
import { type PrefillEnd, Prefills } from "./prefills.ts";
import { type LedgerOptions, TICKET_LIMITS, type TicketLimits } from "./ledger-options.ts";
import { RestoredTickets } from "./restored-tickets.ts";
import { TicketLoad } from "./ticket-load.ts";

export class TicketLedger {
  readonly #options: LedgerOptions;
  readonly #limits: TicketLimits;
  readonly #leases = new Leases();
  readonly #claims: PrefixClaims;
  readonly #lessons: Lessons;
  readonly #prefills: Prefills;
  readonly #load: TicketLoad;
  readonly #ended = new EndedTickets();
  readonly #restored: RestoredTickets;
  /** Those of requests that isolates have decided on. */
  readonly local: LocalTickets;
  #created = 0;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#limits = options.limits ?? TICKET_LIMITS;
    this.#claims = new PrefixClaims(options.learner);
    this.#lessons = new Lessons(this.#claims, this.#limits.keyBytesMax);
    const { clock, load } = options;
    this.#prefills = new Prefills({ clock, load, claims: this.#claims });
    this.#load = new TicketLoad(clock, load);
    const shared = {
      leases: this.#leases,
      load: this.#load,
      ended: this.#ended,
      makeRoom: () => this.makeRoom(),
    };
    this.#restored = new RestoredTickets({
      ...options,
      ...shared,
      leaseToRelay: (ticket) => this.#leaseToRelay(ticket),
    });
    this.local = new LocalTickets({
      ...shared,
      clock,
      lessons: this.#lessons,
      prefills: this.#prefills,
      limits: this.#limits,
      leaseToWorker: (ticket) => this.#leaseToWorker(ticket),
    });
  }

  /** Tickets that load an endpoint. */
  get openCount(): number {
    return this.#leases.openCount;
  }

  /** All tickets known, including those only waiting to be settled. */
  get size(): number {
    return this.#leases.size;
  }

  get keyBytes(): number {
    return this.#lessons.keyBytes;
  }

  /** The open ticket of an earlier pick of the same attempt; `holder` becomes its guard. */
  reopen(requestId: string, attempt: number, holder: number): Ticket | undefined {
    const ticket = this.#leases.ofRequest(requestId, attempt);
    if (ticket !== undefined) ticket.holder = holder;
    return ticket;
  }

  /** Who has a pick's open ticket: `relay` is undefined while nobody has said so. */
  carrierOf(
    requestId: string,
    attempt: number,
  ): { readonly ticket: string; readonly relay: RelayLife | undefined } | undefined {
    const ticket = this.#leases.ofRequest(requestId, attempt);
    return ticket && { ticket: ticket.id, relay: ticket.relay };
  }

  /** The ticket that `holder` guards, until it is settled. */
  heldBy(id: string, holder: number): (Ticket & Pick<TicketState, "slot">) | undefined {
    const ticket = this.#leases.get(id);
    return ticket?.holder === holder ? ticket : undefined;
  }

  /** Whose an open ticket is. */
  requestOf(id: string, attempt: number): string | undefined {
    const ticket = this.#find(id, attempt);
    return ticket?.releasedBy === null ? ticket.requestId : undefined;
  }

  /** What a ticket's request was believed to find; undefined where that was not known exactly. */
  believedOf(id: string, attempt: number): Believed | undefined {
    const ticket = this.#find(id, attempt);
    if (ticket?.prediction === undefined) return undefined;
    return { prediction: ticket.prediction, model: ticket.model, keys: ticket.keys };
  }

  /** Whether one more may be tracked. */
  get hasRoom(): boolean {
    return this.size < this.#limits.ticketsMax || this.size > this.openCount;
  }

  /** Room for one more ticket. Settles the oldest early if only that makes room. */
  makeRoom(): TicketRoom {
    if (this.size < this.#limits.ticketsMax) return { hasRoom: true, settlement: undefined };
    const oldest = this.#leases.oldestUnsettled;
    if (oldest === undefined) return { hasRoom: false, settlement: undefined };
    return { hasRoom: true, settlement: this.#giveUp(oldest) };
  }

  /** Charges the endpoints. The caller has asked for room and that the pick is not open already. */
  open(spec: TicketSpec): Ticket {
    assert(this.size < this.#limits.ticketsMax, "a ticket past the maximum");
    const before = this.#leases.ofRequest(spec.requestId, spec.attempt);
    assert(before === undefined, "two open tickets for one attempt");
    this.#created += 1;
    const { prefill, promptTokens } = spec;
    const ticket = beginTicket(spec, {
      id: encodeTicketName(this.#options.epoch, this.#created, spec),
      holder: spec.holder,
      isCommitted: false,
      keys: this.#lessons.keep(spec.keys),
      dueAtMs: this.#options.clock() + this.#limits.beforeRelayMs,
      prefill: prefill && this.#prefills.begin(prefill, promptTokens),
    });
    this.#leases.claimRequest(ticket);
    if (spec.isWorkers === true) this.#leaseToWorker(ticket);
    else this.#leases.leaseBeforeRelay(ticket);
    this.#load.dispatch(ticket);
    return ticket;
  }

  /** Nobody will say that its endpoint has the prompt before the answer has ended. */
  #leaseToWorker(ticket: TicketState): void {
    ticket.dueAtMs = this.#options.clock() + this.#limits.withRelayMs;
    this.#leases.leaseToRelay(ticket);
    this.#lessons.teach(ticket, ticket.slot);
  }

  /**
   * A relay has taken the ticket and tries `slot`. Said again, it renews the lease. `subject` puts a
   * ticket of an earlier life back; to make room for it another one may be settled.
   */
  opened(
    id: string,
    attempt: number,
    slot: number,
    subject?: TicketSubject,
  ): Settlement | undefined {
    const ticket = this.#find(id, attempt);
    if (ticket === undefined) return this.#restored.opened({ id, attempt, subject }, slot);
    ticket.isVoid = false;
    carried(ticket, this.#isForgotten);
    ticket.relay = subject?.relay;
    if (ticket.releasedBy === null) {
      this.#load.move(ticket, slot);
      this.#leaseToRelay(ticket);
    }
    this.#lessons.teach(ticket, slot);
    this.#prefills.teach(ticket);
    return undefined;
  }

  /** A relay's report that an endpoint has done with a ticket's prefill. */
  prefilled(id: string, attempt: number, end: PrefillEnd): void {
    const ticket = this.#find(id, attempt);
    if (ticket !== undefined && this.#prefills.ended(ticket, end)) this.#load.addPrompt(ticket);
  }

  /**
   * A relay's report of the end. Undefined if the ticket was settled before or is unknown, which one
   * of an earlier life is not if its `subject` is told.
   */
  closed(
    id: string,
    attempt: number,
    end: TicketEnd,
    subject?: TicketSubject,
  ): Settlement | undefined {
    const ticket = this.#find(id, attempt);
    if (ticket === undefined) return this.#restored.closed({ id, attempt, subject }, end);
    this.#lessons.correct(ticket, end);
    this.#load.learn(ticket, end);
    carried(ticket, this.#isForgotten);
    endedFirst(ticket, end, this.#isForgotten);
    this.#release(ticket, "report");
    this.#forget(ticket);
    const isEdge = isEdgeTicket(id);
    if (isEdge) this.#ended.closed(id, end, ticket);
    return settlementOf(ticket, end, this.#restored.isEarlier(id) && !isEdge);
  }

  /** The Worker gives the ticket back, in words. Ignored from a handle that no longer guards it. */
  release(id: string, by: ReleasedBy, holder: number): void {
    const ticket = this.#leases.open(id);
    if (ticket === undefined || ticket.holder !== holder) return;
    const hasRun = ticket.isWithRelay || by === "unmetered";
    if (by === "unmetered") this.#lessons.teach(ticket, ticket.slot);
    ticket.isVoid = !hasRun;
    // Its answer reached nobody, and another one is paid for: also where the relay was only cut off.
    ticket.isUnpaid ||= by === "hedge-lost" || by === "relay-unreachable";
    if (by === "hedge-lost") stand(ticket, this.#isForgotten);
    this.#release(ticket, by);
  }

  /**
   * The Worker tells the end of what it has carried itself. Undefined where it does not know the usage, or
   * the ticket was settled before: then it is estimated, as one that nobody meters.
   */
  settle(id: string, end: TicketEnd, holder: number): Settlement | undefined {
    const ticket = this.#leases.get(id);
    if (ticket?.holder !== holder || ticket.isVoid) return undefined;
    const isKnown = end.promptTokens !== null && end.completionTokens !== null;
    if (isKnown) return this.closed(id, ticket.attempt, end);
    this.#lessons.correct(ticket, end);
    ticket.isVoid = false;
    this.#release(ticket, "unmetered");
    return undefined;
  }

  /** The Worker's handle is gone. A ticket that a relay has is the relay's to end. */
  abandon(id: string, holder: number): void {
    const ticket = this.#leases.open(id);
    if (ticket?.holder !== holder || ticket.isWithRelay) return;
    // An isolate has sent it, whatever became of an answer of ours to a later call.
    if (isEdgeTicket(id) && ticket.isWorkers !== true) return void (ticket.holder = NO_HOLDER);
    // A grant that came too late was used by nobody; what a relay has after all, its report counts.
    ticket.isVoid = true;
    stand(ticket, this.#isForgotten);
    this.#release(ticket, "handle");
  }

  /**
   * An isolate tells the end of one of its own, as a handle would. One that is not known begins no more. `left` says only
   * that nobody there will tell more: the report of a relay that has it may be on its way. So does `cancelled`, of
   * one that no relay was heard of: they do not tell of a beginning at once. One that was called off is closed as it is told.
   */
  endLocal(id: string, attempt: number, how: ReleasedBy | "left"): void {
    if (!isEdgeTicket(id)) return;
    const ticket = this.#leases.get(id);
    if (ticket === undefined) this.#ended.left(id, how === "left" ? how : "gone");
    else if (ticket.attempt !== attempt) return;
    else if (how === "left" && ticket.isWorkers === true) {
      this.abandon(id, NO_HOLDER);
      this.#forgetUnheardOf(ticket);
    } else if (how === "left" || (how === "cancelled" && mayBeCarried(ticket)))
      this.local.left(ticket);
    else this.release(id, how, NO_HOLDER);
  }

  /** The ticket `other` is to serve the request. Until the first has ended where it is, or its Worker has said so, it counts there. */
  callOff(id: string, other: string): void {
    const [first, second] = [this.#leases.get(id), this.#leases.get(other)];
    if (first !== undefined && second !== undefined) callOff(first, second);
  }

  /** The prompt's keys, of a ticket that was opened without them. */
  learn(id: string, keys: Uint32Array, holder: number): void {
    const ticket = this.#leases.open(id);
    if (ticket === undefined || ticket.holder !== holder || ticket.keys?.length !== 0) return;
    if (!this.#lessons.replace(ticket, keys)) return;
    this.#prefills.forget(ticket);
    if (!ticket.isWithRelay) return;
    this.#lessons.teach(ticket, ticket.slot);
    this.#prefills.teach(ticket);
  }

  /** A relay has begun a life: what earlier ones carried has died with them. */
  relayStarted({ agent, epoch }: RelayLife): void {
    for (const ticket of this.#leases.withRelay()) {
      if (ticket.relay?.agent === agent && ticket.relay.epoch !== epoch)
        this.#release(ticket, "relay-restarted");
    }
  }

  /** Ends every lease that is over. Returns what was settled by estimate. */
  sweep(): Settlement[] {
    const nowMs = this.#options.clock();
    for (const ticket of this.#leases.expired(nowMs)) {
      // A relay that has it will tell, also where it is not known any more.
      ticket.isVoid ||= isUnheardOf(ticket) && isEdgeTicket(ticket.id);
      this.#release(ticket, "expired");
      this.#forgetUnheardOf(ticket);
    }
    const due = [...this.#leases.unsettledDue(nowMs)];
    return due.flatMap((ticket) => this.#giveUp(ticket) ?? []);
  }

  /** The endpoint has left and took its load along; its slot may be given to another. */
  endpointRemoved(slot: number): void {
    for (const ticket of this.#leases.all()) {
      if (ticket.slot === slot) ticket.slot = NO_SLOT;
      if (ticket.claim?.slot === slot) ticket.claim = null;
      this.#prefills.endpointRemoved(ticket, slot);
    }
    this.#claims.endpointRemoved(slot);
    this.#ended.endpointRemoved(slot);
  }

  readonly #isForgotten = (ticket: TicketState) => this.#leases.get(ticket.id) !== ticket;

  #find(id: string, attempt: number): TicketState | undefined {
    const ticket = this.#leases.get(id);
    return ticket?.attempt === attempt ? ticket : undefined;
  }

  #leaseToRelay(ticket: TicketState): void {
    ticket.isWithRelay = true;
    ticket.dueAtMs = this.#options.clock() + this.#limits.withRelayMs;
    this.#leases.leaseToRelay(ticket);
  }

  #release(ticket: TicketState, by: ReleasedBy): void {
    if (ticket.releasedBy !== null) return;
    ticket.releasedBy = by;
    ticket.dueAtMs = this.#options.clock() + this.#limits.settleMs;
    this.#leases.released(ticket);
    if (ticket.isVoid) this.#lessons.unteach(ticket);
    this.#load.move(ticket, NO_SLOT);
    this.#prefills.released(ticket);
    this.#options.onReleased?.(by, ticket);
  }

  /**
   * Its Worker has had no answer, and has decided itself, under the name `id`: what was granted here is used by nobody, unless
   * a relay has it.
   */
  supersede(requestId: string, attempt: number, id: string): void {
    const granted = this.#leases.ofRequest(requestId, attempt);
    if (granted !== undefined && granted.id !== id && !isEdgeTicket(granted.id))
      this.abandon(granted.id, granted.holder);
  }

  /** An isolate's that nobody carries: a relay that does after all says so, as of one that it does not know. */
  #forgetUnheardOf(ticket: TicketState): void {
    const { id, isVoid, releasedBy } = ticket;
    // Not one that its Worker has said more of: whether it is to be paid for.
    const isAllSaid = releasedBy === "handle" || releasedBy === "expired";
    if (isEdgeTicket(id) && isVoid && isAllSaid) this.#giveUp(ticket);
  }

  /** No report came: an estimate, unless the ticket is void. */
  #giveUp(ticket: TicketState): Settlement | undefined {
    const { id, isVoid, isCommitted: isTold } = ticket;
    this.#forget(ticket);
    if (isEdgeTicket(id)) this.#ended.givenUp(id, { isVoid, isTold });
    return isVoid ? undefined : estimateOf(ticket);
  }

  #forget(ticket: TicketState): void {
    assert(ticket.releasedBy !== null, "a ticket is forgotten before its release");
    this.#leases.forget(ticket);
    this.#prefills.forget(ticket);
    this.#lessons.forget(ticket);
  }
}

// A pool's object and its relays, joined by sessions that lose what is under way. Ledger, outbox,
// report numbers and frames are the real ones; storage, sockets and time are modelled, so that a
// thousand histories run in seconds.

import { TicketOutbox } from "../../../src/agents/relay/ticket-outbox.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";
import { AgentFrames } from "../../../src/durable/agent-frames.ts";
import { AppliedReports } from "../../../src/durable/tickets/applied-reports.ts";
import { SettledTickets } from "../../../src/durable/tickets/settled.ts";
import type { Settlement } from "../../../src/durable/tickets/ticket.ts";
import { TICKET_LIMITS, type TicketLimits } from "../../../src/durable/tickets/ledger-options.ts";
import { TicketLedger } from "../../../src/durable/tickets/ledger.ts";
import { closed } from "../pool-client.ts";

/** Endpoint `10.0.0.<slot>:1` has this slot. */
const address = (slot: number) => `10.0.0.${slot}:1`;
const slotOf = (endpoint: string) => Number(/\.(\d+):1$/.exec(endpoint)![1]);

type ToRelay = { t: "welcome" | "ack"; report: number } | { t: "resync" };

/** One connection of a relay: two queues in order, both lost when it is. */
class Link {
  readonly toObject: (Uint8Array | "hello")[] = [];
  readonly toRelay: ToRelay[] = [];
  readonly relay: RelayModel;
  // The relay's side.
  isEstablished = false;
  // The object's side.
  isGreeted = false;
  isResyncAsked = false;
  isAckDue = false;
  frames = new AgentFrames(PROTOCOL_VERSION);

  constructor(relay: RelayModel) {
    this.relay = relay;
    this.toObject.push("hello");
  }
}

export class RelayModel {
  readonly agent: string;
  epoch: string;
  outbox: TicketOutbox;
  link: Link | undefined;
  /** Tickets it carries. */
  readonly open = new Set<GrantedTicket>();
  /** Tickets whose end it reported, and may still hold the report of. */
  readonly #reported = new Set<GrantedTicket>();
  #starts = 0;
  #seq = 0;

  constructor(agent: string) {
    this.agent = agent;
    this.epoch = "";
    this.outbox = new TicketOutbox();
    this.restart();
  }

  /** Loses its memory, and the requests it carries. */
  restart(): void {
    this.#starts += 1;
    this.epoch = `${this.agent}-${this.#starts}`;
    this.#seq = 0;
    for (const ticket of [...this.open, ...this.#reported]) ticket.isLostByRelay = true;
    this.open.clear();
    this.#reported.clear();
    this.outbox.close();
    this.outbox = new TicketOutbox();
    this.outbox.attach({
      send: (encode) => {
        if (this.link?.isEstablished !== true) return false;
        this.#seq += 1;
        this.link.toObject.push(encode({ version: PROTOCOL_VERSION, seq: this.#seq }));
        return true;
      },
    });
    this.link = undefined;
  }

  tries(ticket: GrantedTicket, slot: number): void {
    if (ticket.relay !== undefined && !this.open.has(ticket)) return;
    ticket.relay = this;
    this.open.add(ticket);
    this.outbox.opened(ticket.subject, address(slot));
  }

  ends(ticket: GrantedTicket, slot: number): void {
    if (!this.open.delete(ticket)) return;
    ticket.isReported = true;
    this.#reported.add(ticket);
    const grant = {
      ok: true,
      ticket: ticket.id,
      endpoints: [address(slot)],
      objectEpoch: "",
    } as const;
    const report = closed(grant);
    if (report.kind === "closed") this.outbox.closed({ ...report, ...ticket.subject });
  }

  receive(message: ToRelay): void {
    if (message.t !== "resync") this.outbox.acked({ seq: 0, report: message.report });
    if (this.outbox.size === 0) this.#reported.clear();
    if (message.t === "welcome") this.link!.isEstablished = true;
    if (message.t !== "ack") this.outbox.resync();
  }
}

export interface GrantedTicket {
  readonly id: string;
  readonly subject: Parameters<TicketOutbox["opened"]>[0];
  readonly life: number;
  readonly holder: number;
  relay: RelayModel | undefined;
  isReported: boolean;
  /** The relay died with it, or with its report. */
  isLostByRelay: boolean;
  isGivenBack: boolean;
}

/** What survives the object: written as one, as PoolStorage.settle does. */
class DurableModel {
  /** How often each ticket was counted. */
  readonly counted = new Map<string, number>();
  readonly acked = new Map<string, { seq: number; report: number }>();
  readonly settled = new Set<string>();
}

export class ObjectModel {
  readonly durable = new DurableModel();
  readonly tickets: GrantedTicket[] = [];
  readonly load = new Map<number, number>();
  readonly links = new Set<Link>();
  ledger!: TicketLedger;
  life = 0;
  nowMs = 0;
  releasedCount = 0;
  enteredCount = 0;
  readonly #limits: TicketLimits;
  #reports!: AppliedReports;
  #settled!: SettledTickets;
  #usage: string[] = [];

  constructor(ticketsMax: number) {
    this.#limits = { ...TICKET_LIMITS, ticketsMax };
    this.restart(true);
  }

  /** Loses its memory; its sockets survive if it only hibernated. */
  restart(losesSockets: boolean): void {
    this.life += 1;
    this.load.clear();
    this.#usage = [];
    [this.releasedCount, this.enteredCount] = [0, 0];
    this.#settled = new SettledTickets((ticket) => this.durable.settled.has(ticket));
    this.#reports = new AppliedReports(({ agent, epoch }) => this.#acked(agent, epoch));
    const charge = (slot: number, by: number) =>
      this.load.set(slot, (this.load.get(slot) ?? 0) + by);
    this.ledger = new TicketLedger({
      epoch: `life${this.life}`,
      clock: () => this.nowMs,
      limits: this.#limits,
      load: {
        dispatched: (slot, tokens) => {
          charge(slot, tokens);
          return { atMs: this.nowMs, aheadTokens: 0, isHeld: false };
        },
        dispatchedBefore: (slot, tokens, atMs) => {
          charge(slot, tokens);
          return { atMs, aheadTokens: 0, isHeld: false };
        },
        released: (slot, tokens) => charge(slot, -tokens),
        takenBack: () => undefined,
        promptAdded: () => undefined,
        handedOver: () => undefined,
        completed: () => undefined,
      },
      learner: { learn: () => 0, forget: () => undefined },
      isSettled: (ticket) => this.#settled.has(ticket),
      onReleased: () => (this.releasedCount += 1),
      onRestored: (outcome) => (this.enteredCount += outcome === "opened" ? 1 : 0),
    });
    for (const link of this.links) {
      if (losesSockets) this.drop(link);
      else this.#wake(link);
    }
  }

  pick(slot: number): void {
    const { hasRoom, settlement } = this.ledger.makeRoom();
    this.#settle(settlement);
    if (!hasRoom) return;
    const requestId = `r${this.tickets.length}`;
    const who = { requestId, attempt: 0, tenant: "acme", model: "m" };
    const holder = this.tickets.length + 1;
    const { id } = this.ledger.open({
      ...who,
      priority: 0,
      keys: new Uint32Array(),
      promptTokens: 100,
      outputTokens: 50,
      reservedTokens: 120,
      slot,
      endpoints: [address(slot)],
      holder,
    });
    this.enteredCount += 1;
    this.tickets.push({
      id,
      subject: { ...who, ticket: id },
      life: this.life,
      holder,
      relay: undefined,
      isReported: false,
      isLostByRelay: false,
      isGivenBack: false,
    });
  }

  /** The Worker gives a ticket back; its handle died with the life that made it. */
  giveBack(ticket: GrantedTicket, how: "cancelled" | "relay-unreachable" | "abandon"): void {
    if (ticket.life !== this.life) return;
    ticket.isGivenBack = true;
    if (how === "abandon") this.ledger.abandon(ticket.id, ticket.holder);
    else this.ledger.release(ticket.id, how, ticket.holder);
  }

  sweep(ms: number): void {
    this.nowMs += ms;
    for (const settlement of this.ledger.sweep()) this.#settle(settlement);
  }

  /** Writes, then acknowledges. */
  tick(): void {
    this.#write();
    for (const link of this.links) {
      if (link.isAckDue) {
        link.toRelay.push({ t: "ack", report: this.#reports.applied(link.relay) });
      }
      link.isAckDue = false;
    }
  }

  tickAndDie(losesSockets: boolean): void {
    this.#write();
    this.restart(losesSockets);
  }

  #write(): void {
    for (const ticket of this.#usage.splice(0)) {
      this.durable.counted.set(ticket, (this.durable.counted.get(ticket) ?? 0) + 1);
    }
    for (const { agent, epoch, seq, report } of this.#reports.unsaved()) {
      for (const key of this.durable.acked.keys()) {
        if (key.startsWith(`${agent}/`)) this.durable.acked.delete(key);
      }
      this.durable.acked.set(`${agent}/${epoch}`, { seq, report });
    }
    for (const ticket of this.#settled.take()) this.durable.settled.add(ticket);
    this.#reports.saved();
  }

  connect(relay: RelayModel): void {
    if (relay.link !== undefined) this.drop(relay.link);
    relay.link = new Link(relay);
    this.links.add(relay.link);
  }

  drop(link: Link): void {
    this.links.delete(link);
    if (link.relay.link === link) link.relay.link = undefined;
  }

  /** Delivers the oldest message on its way to the object, as AgentConnections does. */
  receive(link: Link): void {
    const message = link.toObject.shift();
    if (message === undefined) return;
    if (message === "hello") return this.#welcome(link);
    const decoded = link.frames.decode(message);
    if (!decoded.ok || decoded.frame.kind !== "tickets") throw new Error("not a frame of tickets");
    const { seq, reports, numbers } = decoded.frame;
    const frame = { ...numbers!, count: reports.length };
    const judged = this.#reports.take(link.relay, seq, frame);
    if (!judged.ok) {
      if (!link.isResyncAsked) link.toRelay.push({ t: "resync" });
      link.isResyncAsked = true;
      return;
    }
    link.isResyncAsked = false;
    link.isAckDue = true;
    for (const report of reports.slice(judged.skipCount)) {
      // Stages are not split here: disaggregation has a model of its own.
      if (report.kind === "prefilled") throw new Error("a prefill that nobody asked for");
      const { ticket, attempt, requestId, tenant, model } = report;
      const { agent, epoch } = link.relay;
      const who = { requestId: requestId!, tenant: tenant!, model: model! };
      const subject = { ...who, relay: { agent, epoch } };
      const slot = slotOf(report.endpoint);
      if (report.kind === "opened") {
        this.#settle(this.ledger.opened(ticket, attempt, slot, subject));
      } else {
        const end = { ...report, slot, isPromptCached: true };
        this.#settle(this.ledger.closed(ticket, attempt, end, subject));
      }
    }
  }

  /** Counted so far, written or not. */
  count(ticket: GrantedTicket): number {
    const waiting = this.#usage.filter((id) => id === ticket.id).length;
    return (this.durable.counted.get(ticket.id) ?? 0) + waiting;
  }

  #welcome(link: Link): void {
    link.isGreeted = true;
    link.isResyncAsked = true;
    const { agent, epoch } = link.relay;
    link.toRelay.push({ t: "welcome", report: this.#acked(agent, epoch).report });
    this.ledger.relayStarted({ agent, epoch });
  }

  #wake(link: Link): void {
    link.frames = new AgentFrames(PROTOCOL_VERSION);
    link.isAckDue = false;
    if (link.isGreeted) this.#welcome(link);
  }

  #acked(agent: string, epoch: string): { seq: number; report: number } {
    return this.durable.acked.get(`${agent}/${epoch}`) ?? { seq: 0, report: 0 };
  }

  #settle(settlement: Settlement | undefined): void {
    if (settlement === undefined) return;
    this.#usage.push(settlement.ticket);
    if (settlement.mayBeReported) this.#settled.add(settlement.ticket);
  }
}

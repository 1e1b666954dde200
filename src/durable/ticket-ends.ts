// What Workers and relays say of a pool's tickets, from their opening to their end, and what follows of it:
// in the ledger, in the queue, in the decision's record, and for what is believed of caches.

import type {
  Evict,
  TicketClosed,
  TicketOpened,
  TicketPrefilled,
} from "../agents/protocol/messages.ts";
import type { DecisionResult } from "../scheduler/decisions/record.ts";
import type { Ejected } from "../scheduler/flow-control/outcomes.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";
import type { WorkerEnd, WorkerRelease } from "./contract.ts";
import type { Decider } from "./decider.ts";
import type { Endpoints } from "./endpoints.ts";
import type { ResidentKnowledge } from "./kv/resident-knowledge.ts";
import type { PickDesk } from "./pick-handle.ts";
import type { PickQueue } from "./queue/pick-queue.ts";
import type { TicketLedger } from "./tickets/ledger.ts";
import { endOf, prefillResultOf, subjectOf, workerEnd, workerResult } from "./tickets/reported.ts";
import {
  type RelayLife,
  type ReleasedBy,
  type ReleasedTicket,
  type Settlement,
  usageOf,
  NO_USAGE,
} from "./tickets/ticket.ts";

/** How long an upstream is avoided that a Worker could not reach. */
const UNREACHED_MS = 1_000;
/** Tickets remembered as ones that were to be ended. */
const VICTIMS_MAX = 1_000;

export interface TicketEndsOptions {
  readonly ledger: TicketLedger;
  readonly decider: Decider;
  readonly endpoints: Endpoints;
  readonly resident: ResidentKnowledge;
  readonly registry: MetricRegistry;
  /** undefined where flow control is off. */
  readonly queue: () => PickQueue | undefined;
  readonly onSettled: (settlement: Settlement) => void;
  /** Ends a request that was let through, unless it has emitted a byte. */
  readonly evict: (victim: Omit<Evict, "t">, relay: RelayLife | undefined) => void;
}

export class TicketEnds implements PickDesk {
  readonly #options: TicketEndsOptions;
  readonly #ledger: TicketLedger;
  /** Tickets whose end relays were asked for; the latest. */
  readonly #victims = new Set<string>();

  constructor(options: TicketEndsOptions) {
    this.#options = options;
    this.#ledger = options.ledger;
  }

  /** The answer has begun. */
  started(ticket: string, attempt: number): void {
    const requestId = this.#ledger.requestOf(ticket, attempt);
    if (requestId !== undefined) this.#options.queue()?.started(requestId, attempt);
  }

  /** All keys of a prompt that waited with a part of them. */
  learn(ticket: string, keys: Uint32Array, holder: number): void {
    this.#ledger.learn(ticket, keys, holder);
  }

  release(ticket: string, how: WorkerRelease, holder: number): void {
    const { endpoints } = this.#options;
    const [address = ""] = this.#ledger.heldBy(ticket, holder)?.endpoints ?? [];
    // Nobody else will tell of an upstream. For a moment: this Worker's way there may be at fault.
    const isAvoided = how === "relay-unreachable" && endpoints.hasUpstreams;
    if (isAvoided) endpoints.eject(address, UNREACHED_MS);
    this.#ledger.release(ticket, how, holder);
  }

  /** The end of what its Worker has carried itself. */
  settle(ticket: string, told: WorkerEnd, holder: number): void {
    const of = this.#ledger.heldBy(ticket, holder);
    if (of === undefined) return;
    const end = workerEnd(told, of.slot);
    const [endpoint = ""] = of.endpoints;
    if (end.isPromptCached) this.#options.endpoints.eject(endpoint, 0);
    const settlement = this.#ledger.settle(ticket, end, holder);
    this.#options.decider.ended(of.requestId, of.attempt, workerResult(told, end, endpoint));
    if (settlement !== undefined) this.settled(settlement, true);
  }

  abandon(ticket: string, holder: number): void {
    this.#ledger.abandon(ticket, holder);
  }

  /** A relay has taken a ticket over. */
  opened(report: TicketOpened, slot: number, { agent, epoch }: RelayLife): void {
    const { ticket, attempt } = report;
    const subject = subjectOf(report);
    const told = subject === undefined ? undefined : { ...subject, relay: { agent, epoch } };
    const settlement = this.#ledger.opened(ticket, attempt, slot, told);
    if (settlement !== undefined) this.settled(settlement);
  }

  /** An endpoint has done with a ticket's prefill. */
  prefilled(report: TicketPrefilled, slot: number): void {
    this.#ledger.prefilled(report.ticket, report.attempt, { ...report, slot });
  }

  /** A relay's report of a ticket's end. */
  closed(report: TicketClosed, slot: number): void {
    const { ticket, attempt, promptTokens, completionTokens } = report;
    const { resident, decider } = this.#options;
    const believed = this.#ledger.believedOf(ticket, attempt);
    const result = this.#resultOf(report);
    const end = { ...endOf(report, slot), result };
    const settlement = this.#ledger.closed(ticket, attempt, end, subjectOf(report));
    if (settlement === undefined) return;
    const failedCount = report.failed.length;
    const predicted = believed && resident.ended(believed, { ...end, failedCount });
    const whole = { ...result, predictedTokens: predicted ?? null };
    decider.ended(settlement.requestId, settlement.attempt, whole);
    // Who leaves before the engine has told its usage has used what was expected of it.
    this.settled(settlement, promptTokens !== null && completionTokens !== null);
  }

  /** For the decision's record. */
  #resultOf(report: TicketClosed): DecisionResult {
    const { ticket, endpoint, ttftMs, promptTokens, cachedTokens, completionTokens } = report;
    const isVictim = this.#victims.delete(ticket);
    const outcome = isVictim && report.outcome === "cancelled" ? "evicted" : report.outcome;
    const result = { endpoint, outcome, ttftMs, promptTokens, cachedTokens, completionTokens };
    return { ...result, predictedTokens: null, ...prefillResultOf(report) };
  }

  /** Ends what has expired. */
  sweep(): void {
    for (const settlement of this.#ledger.sweep()) this.settled(settlement);
  }

  /** Usage is known once: what a report has not told, stands as it was expected. */
  settled(settlement: Settlement, isTold = false): void {
    const { requestId, attempt, isUnpaid } = settlement;
    const told = isTold ? usageOf(settlement) : undefined;
    this.#options.queue()?.settled(requestId, attempt, isUnpaid ? NO_USAGE : told);
    this.#options.onSettled(settlement);
  }

  /** A ticket's load has left. */
  released(by: ReleasedBy, ticket: ReleasedTicket): void {
    const { requestId, attempt, isVoid } = ticket;
    this.#options.registry.inc(METRIC.ticketsTotal, { released_by: by });
    if (!isVoid) return this.#options.queue()?.released(requestId, attempt);
    // Nobody was asked to compute anything.
    this.#options.queue()?.settled(requestId, attempt, NO_USAGE);
    this.#unsent(ticket);
  }

  /** Its prompt is not on its way to its first endpoint, nor to who was to read it before. */
  #unsent({ keys, endpoints: [first = ""], prefill }: ReleasedTicket): void {
    const slot = this.#options.endpoints.table.slotOfAddress(first);
    if (keys === null) return;
    for (const each of [slot, prefill?.pickedSlot])
      if (each !== undefined) this.#options.resident.unsent(keys, each);
  }

  /** Its place is needed for another. */
  evict({ request, retryAfterMs }: Ejected): void {
    const { requestId, attempt } = request;
    const carrier = this.#ledger.carrierOf(requestId, attempt);
    if (carrier === undefined) return this.#options.queue()?.started(requestId, attempt);
    const { ticket, relay } = carrier;
    const [oldest] = this.#victims;
    if (this.#victims.size >= VICTIMS_MAX && oldest !== undefined) this.#victims.delete(oldest);
    this.#victims.add(ticket);
    this.#options.evict({ ticket, attempt, retryAfterMs }, relay);
  }
}

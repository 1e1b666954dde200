// Decisions of one pool: asks the scheduler, opens tickets, learns from their ends, keeps records. Where
// flow control is on, a request that finds the pool full waits in the queue, and is decided on when its
// turn comes.

import type {
  Evict,
  TicketClosed,
  TicketOpened,
  TicketPrefilled,
} from "../agents/protocol/messages.ts";
import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import type { DecisionRecord, QueueFacts } from "../scheduler/decisions/record.ts";
import { PoolChoices } from "../scheduler/decisions/pool-choices.ts";
import { DecisionRecorder } from "../scheduler/decisions/recorder.ts";
import { DecisionRing } from "../scheduler/decisions/ring.ts";
import type { EndpointPicker, Picked } from "../scheduler/endpoint-picker.ts";
import type { InferenceRequest } from "../scheduler/model/inference-request.ts";
import type { Ejected } from "../scheduler/flow-control/outcomes.ts";
import type { QueueRefusal } from "../scheduler/decisions/queue-refusals.ts";
import { capacityRuleOf } from "../scheduler/plugins/data-producer/approx-prefix-cache-producer.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";
import type { BuiltConfig } from "./built-config.ts";
import type { DecisionQuery, ShadowState } from "./state.ts";
import type { PickRefusal, PickRequest, PickResult, WorkerEnd, WorkerRelease } from "./contract.ts";
import { countDecision, countSplit } from "./decision-counts.ts";
import { refuse } from "./pick-refusal.ts";
import { takePage } from "./decision-page.ts";
import { grantOf, ticketSpecOf } from "./granted-ticket.ts";
import { Admission } from "./queue/admission.ts";
import { bestMatchTokens } from "./queue/best-match.ts";
import type { WaitAnswer, WaitingPick } from "./queue/waiting-pick.ts";
import { WarmUp } from "./queue/warm-up.ts";
import type { QueueEnd } from "./queue-metrics.ts";
import type { Endpoints } from "./endpoints.ts";
import type { ResidentKnowledge } from "./kv/resident-knowledge.ts";
import type { PrefixMemory } from "./prefix/memory.ts";
import { boundRequest } from "./request-bounds.ts";
import { Shadow } from "./shadow.ts";
import {
  type RelayLife,
  type ReleasedBy,
  type ReleasedTicket,
  type Settlement,
  type Ticket,
  type TicketSpec,
  usageOf,
  NO_USAGE,
} from "./tickets/ticket.ts";
import { NO_SLOT, TicketLedger } from "./tickets/ledger.ts";
import { endOf, prefillResultOf, subjectOf, workerEnd, workerResult } from "./tickets/reported.ts";

/** Addresses a retry may exclude; later ones are not looked at. */
export const EXCLUDE_MAX = 64;
/** How long an upstream is avoided that a Worker could not reach. */
const UNREACHED_MS = 1_000;
/** Tickets remembered as ones that were to be ended. */
const VICTIMS_MAX = 1_000;
/** Time from a scrape to the object that still counts as prompt. */
const ONE_WAY_MS = 1_000;
/** Scrapes that may be missed before a sample is stale. */
const SCRAPES_MISSED_MAX = 3;

export interface PicksOptions {
  readonly epoch: string;
  readonly clock: Clock;
  /** A fresh seed for each decision, kept in its record. */
  readonly seed: () => number;
  readonly endpoints: Endpoints;
  readonly prefixes: PrefixMemory;
  readonly resident: ResidentKnowledge;
  readonly registry: MetricRegistry;
  readonly onSettled: (settlement: Settlement) => void;
  /** Whether a ticket of an earlier life of the object was settled. */
  readonly isSettled: (ticket: string) => boolean;
  /** Ends a request that was let through, unless it has emitted a byte. */
  readonly evict: (victim: Omit<Evict, "t">, relay: RelayLife | undefined) => void;
  /** A ticket is open. */
  readonly tickNeeded: () => void;
  readonly queueEnded: (end: QueueEnd) => void;
  readonly queueAskedAgain: () => void;
  readonly queueRefused: (refusal: QueueRefusal) => void;
}

export class Picks {
  readonly #options: PicksOptions;
  readonly #ledger: TicketLedger;
  readonly #admission: Admission;
  readonly #warmUp: WarmUp;
  readonly #decisions = new DecisionRing();
  readonly #recorder = new DecisionRecorder(this.#decisions);
  readonly #poolChoices = new PoolChoices();
  #picker: EndpointPicker | undefined;
  /** Configuration of #picker: one object while it does not change. */
  #scheduler: SchedulerConfig | undefined;
  #shadow: Shadow | undefined;
  /** Configuration of #shadow. */
  #shadowScheduler: SchedulerConfig | undefined;
  /** Tickets whose end relays were asked for; the latest. */
  readonly #victims = new Set<string>();
  #configVersion = 0;
  #staleAfterMs = ONE_WAY_MS;

  constructor(options: PicksOptions) {
    this.#options = options;
    this.#ledger = new TicketLedger({
      epoch: options.epoch,
      clock: options.clock,
      load: options.endpoints.table,
      learner: options.prefixes,
      onReleased: (by, ticket) => this.#released(by, ticket),
      isSettled: options.isSettled,
      onRestored: (outcome) => options.registry.inc(METRIC.ticketsRestoredTotal, { outcome }),
    });
    // No relay comes back before upstreams.
    const { table, hasUpstreams } = options.endpoints;
    this.#warmUp = new WarmUp(options.clock, table.size > 0 && !hasUpstreams);
    this.#admission = this.#createAdmission();
  }

  /** A sample older than this is stale: its endpoint ranks behind every fresh one. */
  get staleAfterMs(): number {
    return this.#staleAfterMs;
  }

  get tickets(): { readonly open: number; readonly unsettled: number } {
    const open = this.#ledger.openCount;
    return { open, unsettled: this.#ledger.size - open };
  }

  get hasTickets(): boolean {
    return this.#ledger.size > 0;
  }

  get admission(): Admission {
    return this.#admission;
  }

  /** Puts a configuration in force. */
  configure({ stored: { version, config }, picker, scrapeIntervalMs }: BuiltConfig): void {
    this.#configVersion = version;
    const scheduler = config?.scheduler;
    if (JSON.stringify(scheduler) !== JSON.stringify(this.#scheduler)) {
      // Only then: a new picker's scorers have forgotten what they learned.
      this.#scheduler = scheduler;
      this.#picker = picker;
      if (scheduler !== undefined) {
        this.#options.prefixes.setCapacityRule(capacityRuleOf(scheduler));
        this.#options.resident.configure(scheduler);
      }
    }
    const plugins = this.#picker?.plugins;
    const priorities = config?.objectivePriorities ?? [];
    const isOpen = this.#scheduler !== undefined && plugins !== undefined;
    this.#admission.configure(
      isOpen ? { scheduler: this.#scheduler!, plugins, priorities } : undefined,
    );
    this.#configureShadow(config?.shadowScheduler);
    this.#staleAfterMs = SCRAPES_MISSED_MAX * scrapeIntervalMs + ONE_WAY_MS;
  }

  /**
   * Hot path but for the record it keeps. Nothing here waits and nothing is written. A WaitingPick waits
   * for its turn in the queue.
   */
  pick(pick: PickRequest, holder: number): WaitAnswer | WaitingPick {
    if (this.#picker === undefined) {
      return refuse("rejected-no-endpoints", "the pool is not configured");
    }
    const open = this.#ledger.reopen(pick.request.requestId, pick.attempt, holder);
    if (open !== undefined) return this.#grant(open);
    const bounded = { ...pick, request: boundRequest(pick.request) };
    if (pick.choice !== undefined) this.#poolChoices.add(pick.request.requestId, pick.choice);
    return this.#admission.answer(bounded, holder) ?? this.#pickNow(bounded, { holder });
  }

  #pickNow(
    { request, attempt, exclude }: Pick<PickRequest, "request" | "attempt" | "exclude">,
    { holder, queue, keys = request.keys }: Claimed,
  ): PickResult {
    const room = this.#ledger.makeRoom();
    if (room.settlement !== undefined) this.#settled(room.settlement);
    if (!room.hasRoom) {
      this.#count("failure", request.model, "");
      return refuse("rejected-saturated", "the pool carries as many requests as it can track");
    }
    const startedMs = this.#options.clock();
    const at = { attempt, exclude, queue, nowMs: startedMs };
    const picked = this.#decide(this.#picker!, request, at);
    const seconds = (this.#options.clock() - startedMs) / 1_000;
    this.#options.registry.observe(METRIC.schedulerSeconds, {}, seconds);
    if (!picked.ok) {
      this.#count("failure", request.model, "");
      return refuse(picked.reason, picked.detail);
    }
    // Before its keys are claimed where it goes, and none of a prompt that is known by a part of them.
    // Who is handed blocks by a prefill endpoint reports those as well.
    const isWhole = picked.prefill === undefined;
    const first = picked.slots[0] ?? NO_SLOT;
    const prediction = isWhole ? this.#options.resident.predictionFor(keys, first) : undefined;
    return this.#grant(this.#open({ ...request, keys }, picked, { attempt, holder, prediction }));
  }

  /** The answer has begun. */
  started(ticket: string, attempt: number): void {
    const requestId = this.#ledger.requestOf(ticket, attempt);
    if (requestId !== undefined) this.#admission.queue?.started(requestId, attempt);
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
    this.#decisions.settle(of.requestId, of.attempt, workerResult(told, end, endpoint));
    if (settlement !== undefined) this.#settled(settlement, true);
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
    if (settlement !== undefined) this.#settled(settlement);
  }

  /** An endpoint has done with a ticket's prefill. */
  prefilled(report: TicketPrefilled, slot: number): void {
    this.#ledger.prefilled(report.ticket, report.attempt, { ...report, slot });
  }

  /** A relay's report of a ticket's end. */
  closed(report: TicketClosed, slot: number): void {
    const end = endOf(report, slot);
    const { ticket, attempt } = report;
    const believed = this.#ledger.believedOf(ticket, attempt);
    const settlement = this.#ledger.closed(ticket, attempt, end, subjectOf(report));
    if (settlement === undefined) return;
    const failedCount = report.failed.length;
    const predictedTokens =
      believed && this.#options.resident.ended(believed, { ...end, failedCount });
    const { endpoint, ttftMs, promptTokens, cachedTokens, completionTokens } = report;
    const isVictim = this.#victims.delete(ticket);
    const outcome = isVictim && report.outcome === "cancelled" ? "evicted" : report.outcome;
    const result = { endpoint, outcome, ttftMs, promptTokens, cachedTokens, completionTokens };
    const predicted = { ...result, predictedTokens: predictedTokens ?? null };
    const whole = { ...predicted, ...prefillResultOf(report) };
    this.#decisions.settle(settlement.requestId, settlement.attempt, whole);
    // Who leaves before the engine has told its usage has used what was expected of it.
    this.#settled(settlement, promptTokens !== null && completionTokens !== null);
  }

  /** A relay is there, perhaps for the first time since its start. */
  relayConnected(relay: RelayLife): void {
    this.#warmUp.relayConnected();
    this.#ledger.relayStarted(relay);
  }

  /** Ends what has expired. */
  sweep(): void {
    for (const settlement of this.#ledger.sweep()) this.#settled(settlement);
  }

  endpointRemoved(slot: number): void {
    this.#ledger.endpointRemoved(slot);
    this.#options.prefixes.endpointRemoved(slot);
    this.#options.resident.endpointRemoved(slot);
    this.#picker?.onEndpointRemoved(slot);
    this.#shadow?.endpointRemoved(slot);
  }

  /** Its engine has started anew, with nothing in memory. Its tickets end by what relays report. */
  endpointRestarted(slot: number): void {
    this.#options.prefixes.endpointRemoved(slot);
    this.#options.resident.endpointRestarted(slot);
    this.#picker?.onEndpointRestarted(slot);
    this.#shadow?.endpointRestarted(slot);
  }

  /** The decisions on record for a request, by attempt. */
  records(requestId: string): DecisionRecord[] {
    return this.#decisions.find(requestId);
  }

  /** Among which pools the request was chosen; undefined where that is not known. */
  poolChoice(requestId: string): ReturnType<PoolChoices["find"]> {
    return this.#poolChoices.find(requestId);
  }

  /** Recorded decisions, newest first. */
  page(query: DecisionQuery) {
    return takePage(this.#decisions, query, this.#options.clock);
  }

  /** undefined without a shadow configuration. */
  get shadow(): ShadowState | undefined {
    return this.#shadow?.state;
  }

  #createAdmission(): Admission {
    const { clock, endpoints, prefixes, queueEnded, queueAskedAgain } = this.#options;
    const { table } = endpoints;
    return new Admission({
      clock,
      pool: () => ({
        endpoints: table.columns,
        pool: table,
        nowMs: clock(),
        staleAfterMs: this.#staleAfterMs,
      }),
      matchTokens: (keys, blocksPerKey) =>
        bestMatchTokens(prefixes.tree, table.columns, { keys, blocksPerKey }),
      hasRoom: () => this.#warmUp.isOver && this.#ledger.hasRoom,
      decide: (pick, queue) => this.#decideQueued(pick, queue),
      evict: (victim) => this.#evict(victim),
      failed: () => this.#options.registry.inc(METRIC.decisionFailuresTotal, {}),
      ended: queueEnded,
      askedAgain: queueAskedAgain,
      refused: (pick, dropped, queue) => this.#refusedInQueue(pick, dropped, queue),
      setTimer: (callback, ms) => void setTimeout(callback, ms),
    });
  }

  #evict({ request, retryAfterMs }: Ejected): void {
    const { requestId, attempt } = request;
    const carrier = this.#ledger.carrierOf(requestId, attempt);
    if (carrier === undefined) return this.#admission.queue?.started(requestId, attempt);
    const { ticket, relay } = carrier;
    const [oldest] = this.#victims;
    if (this.#victims.size >= VICTIMS_MAX && oldest !== undefined) this.#victims.delete(oldest);
    this.#victims.add(ticket);
    this.#options.evict({ ticket, attempt, retryAfterMs }, relay);
  }

  #refusedInQueue(
    { request, attempt }: Pick<PickRequest, "request" | "attempt">,
    dropped: PickRefusal,
    queue: QueueFacts,
  ): void {
    this.#count("failure", request.model, "");
    const atMs = this.#options.clock();
    const configVersion = this.#configVersion;
    this.#options.queueRefused({ request, attempt, atMs, configVersion, queue, dropped });
  }

  #decideQueued(pick: WaitingPick, queue: QueueFacts): PickResult {
    const { isThinned, attempt, exclude, holder } = pick;
    const request = pick.widened();
    // Keys for looking up would teach what is not there: its Worker tells the prompt's own.
    const keys = isThinned ? NO_KEYS : request.keys;
    const result = this.#pickNow({ request, attempt, exclude }, { holder, queue, keys });
    return result.ok && isThinned ? { ...result, wantsKeys: true } : result;
  }

  /** Usage is known once: what a report has not told, stands as it was expected. */
  #settled(settlement: Settlement, isTold = false): void {
    const { requestId, attempt, isUnpaid } = settlement;
    const told = isTold ? usageOf(settlement) : undefined;
    this.#admission.queue?.settled(requestId, attempt, isUnpaid ? NO_USAGE : told);
    this.#options.onSettled(settlement);
  }

  #released(by: ReleasedBy, { requestId, attempt, isVoid }: ReleasedTicket): void {
    this.#options.registry.inc(METRIC.ticketsTotal, { released_by: by });
    // Nobody was asked to compute anything.
    if (isVoid) this.#admission.queue?.settled(requestId, attempt, NO_USAGE);
    else this.#admission.queue?.released(requestId, attempt);
  }

  #configureShadow(scheduler: SchedulerConfig | undefined): void {
    if (JSON.stringify(scheduler) === JSON.stringify(this.#shadowScheduler)) return;
    this.#shadowScheduler = scheduler;
    this.#shadow =
      scheduler === undefined ? undefined : new Shadow(scheduler, this.#options.registry);
  }

  #decide(
    picker: EndpointPicker,
    request: InferenceRequest,
    at: {
      attempt: number;
      exclude: readonly string[];
      nowMs: number;
      queue: QueueFacts | undefined;
    },
  ): ReturnType<EndpointPicker["pick"]> {
    const { endpoints } = this.#options;
    const seed = this.#options.seed();
    const input = {
      request,
      endpoints: endpoints.table.columns,
      pool: endpoints.table,
      prefixSources: this.#options.resident.sourcesFor(request.model),
      nowMs: at.nowMs,
      staleAfterMs: this.#staleAfterMs,
      seed,
      exclude: at.exclude.slice(0, EXCLUDE_MAX).map((address) => endpoints.slotOfAddress(address)),
    };
    const outcome = picker.pick(input, this.#recorder);
    const shadow = this.#shadow?.observe(input, outcome);
    const { attempt, queue } = at;
    const { exclude } = input;
    const scheduler = this.#scheduler!;
    const configVersion = this.#configVersion;
    const facts = { attempt, configVersion, scheduler, seed, exclude };
    this.#recorder.finish(endpoints.table, {
      ...facts,
      queue,
      kvSource: outcome.ok ? outcome.kvSource : undefined,
      ...(outcome.ok ? {} : { dropped: { reason: outcome.reason, detail: outcome.detail } }),
      ...(shadow === undefined ? {} : { shadow }),
    });
    return outcome;
  }

  #open(
    request: InferenceRequest,
    picked: Picked,
    at: Pick<TicketSpec, "attempt" | "holder" | "prediction">,
  ): Ticket {
    const { table } = this.#options.endpoints;
    const { slots, totalBlocks } = picked;
    const first = slots[0] ?? NO_SLOT;
    this.#count("success", request.model, table.endpoint(first)?.id ?? "");
    countSplit(this.#options.registry, this.#picker!, request.model, picked);
    this.#options.resident.picked(request.keys, picked);
    if (totalBlocks > 0) {
      const labels = { plugin_name: "prefix-cache-scorer" };
      // Of who computes the prompt.
      const hitRatio = (picked.prefillMatchedBlocks ?? picked.matchedBlocks) / totalBlocks;
      this.#options.registry.observe(METRIC.prefixIndexerHitRatio, labels, hitRatio);
    }
    const owned = { ...at, isWorkers: this.#options.endpoints.hasUpstreams };
    const ticket = this.#ledger.open({ ...ticketSpecOf(request, picked, table), ...owned });
    // Its lease ends by time, also where no event follows.
    this.#options.tickNeeded();
    return ticket;
  }

  #grant(ticket: Ticket): PickResult {
    const { epoch, resident } = this.#options;
    return grantOf(ticket, epoch, resident.wantsContent);
  }

  #count(status: "success" | "failure", model: string, endpoint: string): void {
    countDecision(this.#options.registry, { status, model, endpoint });
  }
}

interface Claimed {
  readonly holder: number;
  /** Where it has been in the queue. */
  readonly queue?: QueueFacts | undefined;
  /** What the ticket may teach, where that is not what the decision knows. */
  readonly keys?: Uint32Array;
}

const NO_KEYS = new Uint32Array(0);

// Picks of one pool: who is decided on at once and who waits, the tickets that decisions open, and the
// grants that come of them. Where flow control is on, a request that finds the pool full waits in the
// queue, and is decided on when its turn comes.

import type { Evict } from "../agents/protocol/messages.ts";
import type { QueueFacts } from "../scheduler/decisions/record.ts";
import type { QueueRefusal } from "../scheduler/decisions/queue-refusals.ts";
import type { Picked } from "../scheduler/endpoint-picker.ts";
import type { InferenceRequest } from "../scheduler/model/inference-request.ts";
import { METRIC } from "../telemetry/names.ts";
import type { LocalCommit } from "../scheduler/edge/contracts.ts";
import type { BuiltConfig } from "./built-config.ts";
import type { KeptPick, MovedPick, PickRefusal, PickRequest, PickResult } from "./contract.ts";
import { Decider, type DeciderOptions } from "./decider.ts";
import { countDecision, countSplit } from "./decision-counts.ts";
import { sentFrom } from "./edge/check-commit.ts";
import { LocalCommits } from "./edge/local-commits.ts";
import { ROOM_PER_ENDPOINT_MAX } from "./edge/pool-credit.ts";
import { grantOf, ticketSpecOf } from "./granted-ticket.ts";
import { refuse } from "./pick-refusal.ts";
import { Admission } from "./queue/admission.ts";
import { bestMatchTokens } from "./queue/best-match.ts";
import type { WaitAnswer, WaitingPick } from "./queue/waiting-pick.ts";
import { WarmUp } from "./queue/warm-up.ts";
import type { QueueEnd } from "./queue-metrics.ts";
import { boundRequest } from "./request-bounds.ts";
import type { PoolShards } from "./shards/pool-shards.ts";
import { TicketEnds } from "./ticket-ends.ts";
import { TicketLedger } from "./tickets/ledger.ts";
import {
  NO_SLOT,
  type RelayLife,
  type Settlement,
  type Ticket,
  type TicketSpec,
} from "./tickets/ticket.ts";

export interface PicksOptions extends DeciderOptions {
  readonly epoch: string;
  /** The object as one of the pool's. */
  readonly shards: PoolShards;
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
  /** What is decided, and what is on record of it. */
  readonly decider: Decider;
  /** What becomes of the tickets. */
  readonly ends: TicketEnds;
  readonly admission: Admission;
  /** What isolates decide alone. */
  readonly commits: LocalCommits;
  readonly #ledger: TicketLedger;
  readonly #warmUp: WarmUp;

  constructor(options: PicksOptions) {
    this.#options = options;
    this.decider = new Decider(options);
    this.#ledger = this.#createLedger();
    // No relay comes back before upstreams.
    const { table, hasUpstreams } = options.endpoints;
    this.#warmUp = new WarmUp(options.clock, table.size > 0 && !hasUpstreams);
    this.admission = this.#createAdmission();
    this.ends = new TicketEnds({
      ...options,
      ledger: this.#ledger,
      decider: this.decider,
      queue: () => this.admission.queue,
    });
    this.commits = new LocalCommits({
      ...options,
      ledger: this.#ledger,
      ends: this.ends,
      decider: this.decider,
      queue: () => this.admission.queue,
    });
  }

  get tickets(): { readonly open: number; readonly unsettled: number } {
    const open = this.#ledger.openCount;
    return { open, unsettled: this.#ledger.size - open };
  }

  /** Requests that may be let through elsewhere, on credit. O(endpoints + bands). */
  creditRoom(): number {
    const { queue } = this.admission;
    if (queue !== undefined) return queue.gate.creditRoom();
    return this.#ledger.hasRoom ? ROOM_PER_ENDPOINT_MAX * this.#options.endpoints.table.size : 0;
  }

  get hasTickets(): boolean {
    return this.#ledger.size > 0;
  }

  /** Puts a configuration in force. */
  configure(built: BuiltConfig): void {
    this.decider.configure(built);
    const { picker, scheduler } = this.decider;
    const priorities = built.stored.config?.objectivePriorities ?? [];
    const isOpen = scheduler !== undefined && picker !== undefined;
    const objects = built.stored.config?.shard?.count ?? 1;
    const rules = isOpen ? { scheduler, plugins: picker.plugins, priorities, objects } : undefined;
    this.admission.configure(rules);
  }

  /**
   * Hot path but for the record it keeps. Nothing here waits and nothing is written. A WaitingPick waits
   * for its turn in the queue.
   */
  pick(pick: PickRequest, holder: number): WaitAnswer | WaitingPick | MovedPick | KeptPick {
    if (this.decider.picker === undefined) {
      return refuse("rejected-no-endpoints", "the pool is not configured");
    }
    const open = this.#ledger.reopen(pick.request.requestId, pick.attempt, holder);
    if (open !== undefined) return this.#grantAgain(open, pick);
    const moved = this.#options.shards.moved();
    if (moved !== undefined) return moved;
    this.#options.shards.observe(pick.request.keys);
    const bounded = { ...pick, request: boundRequest(pick.request) };
    if (pick.sent !== undefined) return this.#pickForSent({ ...bounded, sent: pick.sent }, holder);
    this.#keepWhy(pick);
    return this.admission.answer(bounded, holder) ?? this.#pickNow(bounded, { holder });
  }

  /**
   * Its isolate has sent it where it would itself, on credit: nobody waits. It stays there, or goes where it is better off by
   * more than moving it costs; then what was sent is called off.
   */
  #pickForSent(
    pick: PickRequest & { readonly sent: LocalCommit },
    holder: number,
  ): PickResult | KeptPick {
    const { request, attempt, exclude, sent } = pick;
    // The same draws: where others are as good, it is not to be sent where it is already.
    const seed = this.#options.seed();
    const result = this.#isWell({ ...pick, seed })
      ? undefined
      : this.#pickNow({ request, attempt, exclude, seed, isMoved: true }, { holder });
    if (result?.ok !== true) {
      this.commits.apply([sent], []);
      return KEPT;
    }
    this.#keepWhy(pick);
    this.commits.calledOff(sent, { other: result.ticket, attempt });
    return { ...result, callsOff: true };
  }

  /** To a Worker that has lost the answer. */
  #grantAgain(open: Ticket, { sent }: PickRequest): PickResult {
    const result = this.#grant(open);
    return result.ok && sent !== undefined ? { ...result, callsOff: true } : result;
  }

  /**
   * Or not to be judged: it is not sound, or is known here where it was sent, by its relay's word, which may be of its end, or for
   * this was asked before.
   */
  #isWell({ request, exclude, seed, sent }: Decidable & { readonly sent: LocalCommit }): boolean {
    const from = sentFrom(sent);
    if (
      from === undefined ||
      this.#ledger.local.knows(sent.ticket) ||
      this.#options.shards.roomOf(this.creditRoom()) < PLACES_OF_MOVED
    )
      return true;
    const nowMs = this.#options.clock();
    return this.decider.isWellAt(request, { exclude, nowMs, seed, ...from });
  }

  /** For `explain`. */
  #keepWhy({ request, attempt, choice, terms }: PickRequest): void {
    if (choice !== undefined) this.decider.chosenAmong(request.requestId, choice);
    if (terms !== undefined) this.decider.where.add(request.requestId, attempt, terms);
  }

  #pickNow(
    { request, attempt, exclude, proposed, seed, isMoved }: Decidable,
    { holder, queue, keys = request.keys }: Claimed,
  ): PickResult {
    const room = this.#ledger.makeRoom();
    if (room.settlement !== undefined) this.ends.settled(room.settlement);
    if (!room.hasRoom) {
      this.#count("failure", request.model, "");
      return refuse("rejected-saturated", "the pool carries as many requests as it can track");
    }
    const startedMs = this.#options.clock();
    const picked = this.decider.decide(request, {
      attempt,
      exclude,
      proposed,
      isMoved,
      seed,
      queue,
      nowMs: startedMs,
    });
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

  /** A relay is there, perhaps for the first time since its start. */
  relayConnected(relay: RelayLife): void {
    this.#warmUp.relayConnected();
    this.#ledger.relayStarted(relay);
  }

  endpointRemoved(slot: number): void {
    this.#ledger.endpointRemoved(slot);
    this.#options.prefixes.endpointRemoved(slot);
    this.#options.resident.endpointRemoved(slot);
    this.decider.endpointRemoved(slot);
  }

  /** Its engine has started anew, with nothing in memory. Its tickets end by what relays report. */
  endpointRestarted(slot: number): void {
    this.#options.prefixes.endpointRemoved(slot);
    this.#options.resident.endpointRestarted(slot);
    this.decider.endpointRestarted(slot);
  }

  #createLedger(): TicketLedger {
    const { epoch, clock, endpoints, prefixes, registry, isSettled } = this.#options;
    return new TicketLedger({
      epoch,
      clock,
      load: endpoints.table,
      learner: prefixes,
      onReleased: (by, ticket) => this.ends.released(by, ticket),
      isSettled,
      onRestored: (outcome) => registry.inc(METRIC.ticketsRestoredTotal, { outcome }),
    });
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
        staleAfterMs: this.decider.staleAfterMs,
      }),
      matchTokens: (keys, blocksPerKey) =>
        bestMatchTokens(prefixes.tree, table.columns, { keys, blocksPerKey }),
      hasRoom: () => this.#warmUp.isOver && this.#ledger.hasRoom,
      capacity: this.#options.shards,
      decide: (pick, queue) => this.#decideQueued(pick, queue),
      evict: (victim) => this.ends.evict(victim),
      failed: () => this.#options.registry.inc(METRIC.decisionFailuresTotal, {}),
      ended: queueEnded,
      askedAgain: queueAskedAgain,
      refused: (pick, dropped, queue) => this.#refusedInQueue(pick, dropped, queue),
      setTimer: (callback, ms) => void setTimeout(callback, ms),
    });
  }

  #refusedInQueue(
    { request, attempt }: Pick<PickRequest, "request" | "attempt">,
    dropped: PickRefusal,
    queue: QueueFacts,
  ): void {
    this.#count("failure", request.model, "");
    const atMs = this.#options.clock();
    const { configVersion } = this.decider;
    this.#options.queueRefused({ request, attempt, atMs, configVersion, queue, dropped });
  }

  #decideQueued(pick: WaitingPick, queue: QueueFacts): PickResult {
    const { isThinned, attempt, exclude, proposed, holder } = pick;
    const request = pick.widened();
    // Keys for looking up would teach what is not there: its Worker tells the prompt's own.
    const keys = isThinned ? NO_KEYS : request.keys;
    const result = this.#pickNow({ request, attempt, exclude, proposed }, { holder, queue, keys });
    return result.ok && isThinned ? { ...result, wantsKeys: true } : result;
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
    countSplit(this.#options.registry, this.decider.picker!, request.model, picked);
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

type Decidable = Pick<PickRequest, "request" | "attempt" | "exclude"> & {
  readonly proposed?: string | undefined;
  readonly isMoved?: boolean;
  /** Of its draws; undefined: any. */
  readonly seed?: number | undefined;
};

interface Claimed {
  readonly holder: number;
  /** Where it has been in the queue. */
  readonly queue?: QueueFacts | undefined;
  /** What the ticket may teach, where that is not what the decision knows. */
  readonly keys?: Uint32Array;
}

/** Until what was sent first is closed there are two. */
const PLACES_OF_MOVED = 2;
const KEPT: KeptPick = { ok: "kept" };
const NO_KEYS = new Uint32Array(0);

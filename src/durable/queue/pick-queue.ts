// What waits in a pool's object: picks that find the pool full, and how each of them hears of its turn.
//
//   pick ─► enqueue ─► drain ──► granted or refused, in the same call
//                        │ not its turn
//                        ▼
//            an open call while there is room, else a numbered place
//              │ wait        ▲ asks again   │ too late: given up
//              ▼             └──────────────┘
//            its turn, its end, or WAIT_CALL_MS: a place            calls-and-places.ts
//
// Whoever is let through is decided on then, with the pool as it is then. The queue is drained after
// each event that may have made room: an arrival, an end, a sample, a change of endpoints; and every
// POLL_MS while somebody waits, because leases and samples end without an event.
//
// It lives in memory. Workers of an object that has lost it ask again with the time of their first
// arrival, which is their place.

import type { QueuedRequest, TokenUsage } from "../../scheduler/flow-control/contracts.ts";
import type { QueueFacts } from "../../scheduler/decisions/record.ts";
import type { Ejected } from "../../scheduler/flow-control/outcomes.ts";
import { assert } from "../../scheduler/support/assert.ts";
import { entryKey } from "../../scheduler/flow-control/queue-entry.ts";
import type { NumberedPlace, PickGrant, PickRefusal, PickRequest } from "../contract.ts";
import type { QueueState } from "../state.ts";
import { EMPTY, failedDecision, FULL, refusalOf } from "../pick-refusal.ts";
import { NO_USAGE } from "../tickets/ticket.ts";
import { CallsAndPlaces } from "./calls-and-places.ts";
import { CapacityAsks } from "./capacity-asks.ts";
import { EndedPlaces } from "./ended-places.ts";
import { findDisplaceable, HeldBytes } from "./held-bytes.ts";
import { FlowGate } from "./flow-gate.ts";
import { type PickQueueOptions, QUEUE_BOUNDS, type QueueSettings } from "./queue-options.ts";
import { queuedRequestOf } from "./queued-request.ts";
import { QueueTimers } from "./queue-timers.ts";
import { WaitingPick } from "./waiting-pick.ts";

/** Picks let through at one go, before others are heard. */
export const DRAIN_MAX = 128;
const SWEEP_MS = 1_000;
const CANCELLED = "rejected-context-cancelled";

export class PickQueue {
  readonly #options: PickQueueOptions;
  readonly #picks = new Map<string, WaitingPick>();
  readonly #calls: CallsAndPlaces;
  readonly #ended: EndedPlaces;
  readonly #bytes: HeldBytes;
  readonly #timers: QueueTimers;
  /** By which rules who waits is let through. */
  readonly gate: FlowGate;
  #isDraining = false;
  #isDrainPlanned = false;
  #sequence = 0;
  #sweepAtMs = 0;
  readonly #capacityAsks = new CapacityAsks();

  constructor(settings: QueueSettings, options: PickQueueOptions) {
    this.#options = options;
    const { openWaitsMax, endedPlacesMax, waitingBytesMax } = options.limits ?? QUEUE_BOUNDS;
    this.#calls = new CallsAndPlaces({
      clock: options.clock,
      openWaitsMax,
      waitingCount: () => this.#picks.size,
      controller: () => this.#controller,
    });
    this.#ended = new EndedPlaces(endedPlacesMax);
    this.#bytes = new HeldBytes(waitingBytesMax);
    this.#timers = new QueueTimers({
      setTimer: options.setTimer,
      drain: () => this.#drain(),
      tick: () => this.#tick(),
      isNeeded: () => this.#picks.size + this.#ended.size > 0,
      untilMs: () => this.#controller.wakeAtMs - options.clock(),
    });
    this.gate = new FlowGate(settings, options);
  }

  get #controller() {
    return this.gate.controller;
  }

  get waitingCount(): number {
    return this.#picks.size;
  }

  isWaiting(pick: WaitingPick): boolean {
    return this.#picks.get(pick.key) === pick;
  }

  /** Memory of what waits, about. */
  get heldBytes(): number {
    return this.#bytes.total;
  }

  /** Other rules from now on. Who waits goes on waiting, where the new rules have room. */
  configure(settings: QueueSettings): void {
    const nowMs = this.#options.clock();
    for (const queued of this.gate.configure(settings)) this.#enqueueAgain(queued, nowMs);
    this.drainSoon();
  }

  /** Priorities of the pool's objectives, in the place of those told before. */
  declare(priorities: readonly number[]): void {
    this.#controller.declarePriorities(priorities, this.#options.clock());
  }

  /** Nobody has to wait any more: who does is let through. */
  letAllThrough(): void {
    this.gate.open();
    this.drainSoon();
  }

  /** A request was let through elsewhere, on credit. */
  passed(request: QueuedRequest): void {
    // It is not waited for here any more, where it was.
    this.leave(request.requestId, request.attempt);
    if (this.#controller.passed(request, this.#options.clock()))
      this.#options.ended({ ...request, reason: "dispatched", waitMs: 0 });
  }

  /** Another object is asked from now on: Workers that wait ask again at once, and are sent there. */
  sendAway(): void {
    for (const pick of this.#picks.values()) {
      this.#calls.sendBack(pick);
      this.#controller.leave(pick.queued.requestId, pick.attempt, this.#options.clock());
      this.#gone(pick);
    }
  }

  /** The pool is gone. */
  shutDown(): void {
    for (const ejected of this.#controller.shutDown(this.#options.clock())) this.#eject(ejected);
  }

  /** The answer to a pick: a WaitingPick is to be waited for by a handle of this `holder`. */
  pick(pick: PickRequest, holder: number): PickGrant | PickRefusal | NumberedPlace | WaitingPick {
    const { request, attempt } = pick;
    const key = entryKey(request.requestId, attempt);
    const known = this.#picks.get(key);
    if (known !== undefined) return this.#askedAgain(known, holder);
    const ended = this.#ended.take(key, this.#options.clock());
    if (ended !== undefined) return ended;
    const { clock, matchTokens } = this.#options;
    const queued = queuedRequestOf(pick, matchTokens(request.keys, 1), clock());
    const at = { key, holder, nowMs: clock() };
    const entering = new WaitingPick(pick, queued, at, ++this.#sequence);
    return this.#enter(entering) ?? this.#settleDown(entering);
  }

  /** Its Worker has left. Of a pick that another handle speaks for it changes nothing. */
  dropped(pick: WaitingPick, holder: number): void {
    if (pick.holder === holder && this.isWaiting(pick)) this.#end(pick, CANCELLED);
  }

  /** The client of a waiting request has left. */
  leave(requestId: string, attempt: number): void {
    const pick = this.#picks.get(entryKey(requestId, attempt));
    if (pick !== undefined) this.#end(pick, CANCELLED);
  }

  /** A request that was let through has ended; without usage what was expected stands. */
  settled(requestId: string, attempt: number, usage?: TokenUsage): void {
    const nowMs = this.#options.clock();
    this.#controller.settled(requestId, attempt, { nowMs, ...(usage && { usage }) });
    this.drainSoon();
  }

  /** A request that was let through has emitted a byte. */
  started(requestId: string, attempt: number): void {
    this.#controller.started(requestId, attempt);
  }

  /** Its load has left the pool; what it has used may be told later. */
  released(requestId: string, attempt: number): void {
    this.#controller.released(requestId, attempt, this.#options.clock());
    this.drainSoon();
  }

  /** Something may have made room. The queue is looked at once this turn's events are over. */
  drainSoon(): void {
    if (this.#isDrainPlanned || this.#picks.size === 0) return;
    this.#isDrainPlanned = true;
    queueMicrotask(() => {
      this.#isDrainPlanned = false;
      this.#drain();
    });
  }

  state(): QueueState {
    return {
      ...this.gate.state(),
      openWaits: this.#calls.openCount,
      places: this.#calls.placeCount,
    };
  }

  /** The answer, where it is known at once. */
  #enter(pick: WaitingPick): PickGrant | PickRefusal | undefined {
    const nowMs = this.#options.clock();
    const { priority, fairnessId } = pick.queued;
    this.gate.measure();
    const enqueued = this.#controller.enqueue(pick.queued, nowMs, "later");
    if (!enqueued.ok) return this.#refused(pick, refusalOf(enqueued), 0);
    this.#picks.set(pick.key, pick);
    for (const displaced of enqueued.displaced) this.#eject(displaced);
    this.#drain();
    const answer = pick.take();
    if (answer !== undefined && answer.ok !== "queued") return answer;
    if (this.#controller.forecast(pick.queued.requestId, pick.attempt, nowMs) !== undefined)
      return undefined;
    // The same attempt is under way, released and not yet settled: there is no second place for it.
    this.#picks.delete(pick.key);
    return this.#decide(pick, { waitedMs: 0, priority, fairnessId });
  }

  /** It has to wait: if it may, and there is room for what it keeps. */
  #settleDown(pick: WaitingPick): PickRefusal | NumberedPlace | WaitingPick {
    const isElsewhere = this.gate.endpointCount === 0 && !pick.waitsForEndpoints;
    if (!pick.canWait) return this.#end(pick, FULL.reason, FULL.detail);
    if (isElsewhere) return this.#end(pick, EMPTY.reason, EMPTY.detail);
    while (!this.#bytes.hasRoomFor(pick)) {
      const displaced = findDisplaceable(this.#picks.values(), pick);
      if (displaced === undefined) return this.#end(pick, FULL.reason, FULL.detail);
      this.#end(displaced, "evicted-queue-pressure");
    }
    // Only now: who passes at once, or does not wait, takes nobody's place.
    for (const displaced of this.#controller.settleRoom(this.#options.clock()))
      this.#eject(displaced);
    this.#bytes.add(pick);
    pick.thin();
    this.#timers.arm();
    return this.#calls.place(pick, pick.holder);
  }

  #askedAgain(
    pick: WaitingPick,
    holder: number,
  ): PickGrant | PickRefusal | NumberedPlace | WaitingPick {
    this.#options.askedAgain();
    this.#calls.askedAgain(pick, holder);
    this.#drain();
    const answer = pick.take();
    return answer ?? this.#calls.place(pick, holder);
  }

  /** Whether the Worker that is answered now is the one to ask for capacity. */
  asksForCapacity(): boolean {
    return this.#isWithoutCapacity && this.#capacityAsks.ask(this.#options.clock());
  }

  get #isWithoutCapacity(): boolean {
    return this.gate.endpointCount === 0 && this.#picks.size > 0;
  }

  // Hot path: the whole of it is bench/queue's; flow-control and pick-64 are its parts.
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      for (let left = DRAIN_MAX; ; left--) {
        if (left === 0) return this.#timers.soon();
        if (!this.#letOneThrough()) break;
      }
    } finally {
      this.#isDraining = false;
    }
    if (this.#controller.waitingCount === 0) return;
    this.#options.capacity?.wanted(this.#controller.waitingCount);
    this.#evict();
  }

  #letOneThrough(): boolean {
    const nowMs = this.#options.clock();
    const next = this.gate.next(nowMs);
    if (next === undefined) return false;
    const { turn, saturation } = next;
    const pick = this.#picks.get(entryKey(turn.requestId, turn.attempt))!;
    const waitedMs = nowMs - pick.enqueuedAtMs;
    const { priority, fairnessId } = turn;
    const answer = this.#decide(pick, { waitedMs, priority, fairnessId, saturation });
    if (answer.ok) this.#options.capacity?.spend();
    else this.#controller.settled(turn.requestId, turn.attempt, { nowMs, usage: NO_USAGE });
    const reason = answer.ok ? "dispatched" : answer.reason;
    this.#options.ended({ priority, fairnessId, reason, waitMs: waitedMs });
    this.#gone(pick);
    pick.give(answer);
    return true;
  }

  /** A decision that throws is one request's misfortune, and not the queue's. */
  #decide(pick: WaitingPick, queue: QueueFacts): PickGrant | PickRefusal {
    try {
      return this.#options.decide(pick, queue);
    } catch (error) {
      this.#options.failed();
      return failedDecision(error);
    }
  }

  #evict(): void {
    for (const victim of this.gate.evictions()) {
      const { priority, fairnessId } = victim.request;
      this.#options.ended({ priority, fairnessId, reason: "evicted", waitMs: 0 });
      this.#options.evict(victim);
    }
  }

  #tick(): void {
    const nowMs = this.#options.clock();
    this.gate.measure();
    for (const ejected of this.#controller.advance(nowMs)) this.#eject(ejected);
    if (nowMs >= this.#sweepAtMs) this.#sweep(nowMs);
    this.#drain();
  }

  #sweep(nowMs: number): void {
    this.#sweepAtMs = nowMs + SWEEP_MS;
    this.#ended.sweep(nowMs);
    for (const pick of this.#picks.values())
      if (pick.askByMs <= nowMs && pick.holder === 0) this.#end(pick, CANCELLED);
    if (this.gate.measure().endpointCount === 0) this.#sendElsewhere();
    this.#calls.renewDue();
    // Nobody new has come to ask for capacity: one of those who wait does when it comes back.
    if (this.#isWithoutCapacity && this.#capacityAsks.isDue(nowMs)) this.#calls.renewAny();
  }

  /** Endpoints have gone: who can ask another pool does. */
  #sendElsewhere(): void {
    for (const pick of this.#picks.values())
      if (!pick.waitsForEndpoints) this.#end(pick, EMPTY.reason, EMPTY.detail);
  }

  /** Of one that waits. */
  #end(pick: WaitingPick, reason: PickRefusal["reason"], detail?: string): PickRefusal {
    const ejected = this.#controller.eject(pick.queued, reason, this.#options.clock());
    assert(ejected !== undefined, "a pick waits that is not in the queue");
    return this.#eject(detail === undefined ? ejected : { ...ejected, detail })!;
  }

  #eject(ejected: Ejected): PickRefusal | undefined {
    const { requestId, attempt } = ejected.request;
    const pick = this.#picks.get(entryKey(requestId, attempt));
    if (pick === undefined) return undefined;
    const waitedMs = this.#options.clock() - pick.enqueuedAtMs;
    const refusal = this.#refused(pick, refusalOf(ejected), waitedMs);
    // Whoever is cancelled does not come back, or waits anew.
    const isToBeTold = pick.holder === 0 && refusal.reason !== "rejected-context-cancelled";
    if (isToBeTold) this.#ended.add(pick.key, refusal, pick.askByMs);
    this.#gone(pick);
    pick.give(refusal);
    return refusal;
  }

  #gone(pick: WaitingPick): void {
    if (!this.#picks.delete(pick.key)) return;
    this.#bytes.remove(pick);
    this.#calls.gone(pick);
  }

  #refused(pick: WaitingPick, refusal: PickRefusal, waitedMs: number): PickRefusal {
    const { priority, fairnessId } = pick.queued;
    this.#options.ended({ priority, fairnessId, reason: refusal.reason, waitMs: waitedMs });
    this.#options.refused(pick, refusal, { waitedMs, priority, fairnessId });
    return refusal;
  }

  #enqueueAgain(queued: QueuedRequest, nowMs: number): void {
    const pick = this.#picks.get(entryKey(queued.requestId, queued.attempt))!;
    const enqueued = this.#controller.enqueue(queued, nowMs);
    if (!enqueued.ok) return void this.#eject({ ...enqueued, request: queued });
    for (const displaced of enqueued.displaced) this.#eject(displaced);
    this.#controller.setAway(queued.requestId, queued.attempt, pick.isAway);
  }
}

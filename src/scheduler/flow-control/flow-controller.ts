// Decides who waits, who goes next and who is turned away, when a pool is full.
//
//   enqueue ─► band (priority) ─► flow (fairness id) ─► queue ─► next ─► in flight ─► settled
//                 │ full                │ cancel, TTL, displaced          │ evictions
//                 ▼                     ▼                                 ▼
//              refusal               ejected                           ejected
//
// It is driven by events alone: whoever owns it calls `next` until nobody is let through after each event
// that may have made room or work: an arrival, an end, a sample, a change of endpoints. There is no
// tick. llm-d lets at most one request through a millisecond; this as many as there is room for.
//
// Strict priority: a band that is held back by its ceiling ends the search, as in llm-d, so nobody of
// a lower priority passes a waiting higher one. Every request ends exactly once: let through, refused
// or ejected; one that was let through is settled exactly once.

import type { DropReason } from "../outcome.ts";
import type { Total } from "../shards/totals.ts";
import { assert } from "../support/assert.ts";
import { Bands, type BandsSettings } from "./bands.ts";
import type { QueueLimits } from "./capacity.ts";
import type { QueuedRequest, TokenUsage, UsageLimitPolicy } from "./contracts.ts";
import type { PoolRegime } from "./deadlines.ts";
import { debtsOf, type FlowDebt, restoreDebts } from "./debts.ts";
import { RETRY_AFTER_MS } from "./drain-rate.ts";
import { fullRefusal, retryAfterMsOf } from "./full-refusal.ts";
import { type Forecast, forecastOf, forecastOfArrival } from "./forecast.ts";
import { type EvictionPolicies, InFlight, type InFlightRequest } from "./in-flight.ts";
import { type Ejected, type FlowRefusal, refusal } from "./outcomes.ts";
import type { PriorityBand } from "./priority-band.ts";
import { entryKey, QueueEntry } from "./queue-entry.ts";
import { isSound, isSoundUsage } from "./sound.ts";
import { type HeldBand, Reclamation, type ReclamationConditions } from "./reclamation.ts";
import { attainedIn, chargeBands } from "./shared-service.ts";
import { type FlowControlSnapshot, takeSnapshot } from "./snapshot.ts";
import { UsageGate } from "./usage-gate.ts";
import { WaitingRoom } from "./waiting-room.ts";

export interface FlowControlSettings extends BandsSettings {
  /** Of all bands together. */
  readonly limits: QueueLimits;
  readonly usageLimit: UsageLimitPolicy;
  /** Absent: nobody is ended for another. */
  readonly eviction?: EvictionPolicies;
}

/** The pool as it is at a look for somebody to let through. */
export interface DispatchConditions {
  /** See SaturationMeter. */
  readonly saturation: number;
  /** See FairnessContext. */
  readonly matchTokens?: (request: QueuedRequest) => number;
}

export interface Enqueued {
  readonly ok: true;
  /** Who has to go for it. */
  readonly displaced: readonly Ejected[];
}

export class FlowController {
  readonly #bands: Bands;
  readonly #waiting: WaitingRoom;
  readonly #inFlight: InFlight;
  readonly #gate: UsageGate;
  readonly #reclamation = new Reclamation();
  #held: HeldBand | undefined;
  /** It has a place beyond the limits, if it waits still. */
  #over: QueueEntry | undefined;
  #saturation = 1;
  #isShutDown = false;
  #sequence = 0;

  /** `regime`: of the controller before, if there was one in whose place this is. */
  constructor(settings: FlowControlSettings, nowMs: number, regime?: PoolRegime) {
    this.#bands = new Bands(settings, nowMs);
    this.#waiting = new WaitingRoom(settings.limits, nowMs, regime);
    this.#inFlight = new InFlight(settings.eviction);
    this.#gate = new UsageGate(settings.usageLimit);
  }

  get waitingCount(): number {
    return this.#waiting.load.requests;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  /** For a controller of another configuration, where they are to wait from now on. */
  waitingRequests(): QueuedRequest[] {
    return Array.from(this.#waiting.entries(), ({ request }) => request);
  }

  /** For the same. undefined before the first setEndpointCount. */
  get regime(): PoolRegime | undefined {
    return this.#waiting.regime;
  }

  /** Unix ms before which advance() has nobody to eject. */
  get wakeAtMs(): number {
    return this.#waiting.earliestMs;
  }

  /** Priorities of the pool's objectives, in the place of those told before. */
  declarePriorities(priorities: readonly number[], nowMs: number): void {
    this.#bands.declare(priorities, nowMs);
  }

  /** To be told before anybody comes. The first time it changes nothing for those who wait. */
  setEndpointCount(count: number, nowMs: number): void {
    this.#waiting.setHasEndpoints(count > 0, nowMs);
  }

  /**
   * A request that waits already, or is in flight, stays where it is. `later`: it takes the place of nobody before settleRoom, to be
   * called when it has been seen whether it is let through at once; until then one more may wait than
   * there is room for.
   */
  enqueue(
    request: QueuedRequest,
    nowMs: number,
    displaces: "now" | "later" = "now",
  ): Enqueued | FlowRefusal {
    assert(isSound(request), "a request that waits has too many keys, or a number that is none");
    const key = entryKey(request.requestId, request.attempt);
    if (this.#waiting.get(key) !== undefined || this.#inFlight.has(key)) return ENQUEUED;
    const band = this.#bands.bandOf(request.priority, nowMs);
    band.counts.enqueued += 1;
    if (this.#isShutDown)
      return refuse(band, refusal("rejected-shutting-down", RETRY_AFTER_MS.min));
    const hasBandRoom = band.load.hasRoomFor(request, band.settings.limits);
    const gone = hasBandRoom ? this.#waiting.roomFor(request, band, this.#bands) : undefined;
    if (gone === undefined)
      return refuse(band, fullRefusal(request, band, { waiting: this.#waiting, nowMs }));
    const isOver = gone.length > 0 && displaces === "later" && !this.#isOneOver;
    const displaced = isOver ? [] : this.#displace(gone, nowMs);
    const flow = this.#bands.flowOf(band, request.fairnessId);
    const entry = new QueueEntry(flow, request, { nowMs, sequence: ++this.#sequence });
    this.#waiting.add(entry, nowMs);
    this.#bands.touched(flow, nowMs);
    if (isOver) this.#over = entry;
    return displaced.length === 0 ? ENQUEUED : { ok: true, displaced };
  }

  /** Who has to go for a request that was enqueued to displace others later, if it waits still. */
  settleRoom(nowMs: number): Ejected[] {
    if (!this.#isOneOver) return [];
    const gone = this.#waiting.roomAround(this.#over!, this.#bands);
    this.#over = undefined;
    // Whoever has left since has made as much room as if it had been displaced.
    assert(gone !== undefined, "there was room for a request, and now there is none");
    return this.#displace(gone, nowMs);
  }

  /**
   * Lets one request through: its place in the queue becomes one in flight. Call it again, with the
   * pool as it is then, until it gives nobody.
   */
  // Hot path: flow-control-* in bench/, 50 µs.
  next(nowMs: number, { saturation, matchTokens }: DispatchConditions): QueuedRequest | undefined {
    this.#saturation = saturation;
    this.#held = undefined;
    if (!this.#waiting.hasEndpoints || this.waitingCount === 0) return undefined;
    const context = matchTokens === undefined ? { nowMs } : { nowMs, matchTokens };
    const { band, ceiling } = this.#gate.first(this.#bands.descending, saturation);
    if (band === undefined) return undefined;
    // Not `>=`: a saturation that is no number is full.
    if (!(saturation < ceiling)) {
      this.#held = { priority: band.priority, saturation, ceiling };
      return undefined;
    }
    const entry = band.takeNext(context);
    if (entry === undefined) return undefined;
    this.#letThrough(entry, nowMs);
    return entry.request;
  }

  /**
   * A request was let through elsewhere, on credit: from now on it is in flight, and its flow is charged. One
   * that waits here, or is in flight already, stays what it is: false.
   */
  passed(request: QueuedRequest, nowMs: number): boolean {
    assert(isSound(request), "a request that passed has too many keys, or a number that is none");
    const key = entryKey(request.requestId, request.attempt);
    if (this.#waiting.get(key) !== undefined || this.#inFlight.has(key)) return false;
    const band = this.#bands.bandOf(request.priority, nowMs);
    band.counts.enqueued += 1;
    const flow = this.#bands.flowOf(band, request.fairnessId);
    const entry = new QueueEntry(flow, request, { nowMs, sequence: ++this.#sequence });
    band.passed(entry, nowMs);
    this.#inFlightFrom(entry, nowMs);
    this.#bands.touched(flow, nowMs);
    return true;
  }

  /** Of the bands that are declared or wait, the saturation at which the first is held back. */
  lowestCeiling(saturation: number): number {
    return this.#gate.lowest(this.#bands.descending, saturation);
  }

  /** The client of a waiting request has left. undefined for one that does not wait: see settled. */
  cancel(requestId: string, attempt: number, nowMs: number): Ejected | undefined {
    return this.eject({ requestId, attempt }, "rejected-context-cancelled", nowMs);
  }

  /** Ends a wait. undefined for a request that does not wait. */
  eject(
    { requestId, attempt }: Pick<QueuedRequest, "requestId" | "attempt">,
    reason: DropReason,
    nowMs: number,
  ): Ejected | undefined {
    const entry = this.#waiting.get(entryKey(requestId, attempt));
    return entry && this.#eject(entry, reason, nowMs);
  }

  /** A request that was let through has emitted a byte: it is ended for nobody. */
  started(requestId: string, attempt: number): void {
    const key = entryKey(requestId, attempt);
    this.#inFlight.protect(this.#inFlight.get(key));
    this.#reclamation.spared(key);
  }

  /** Its load has left the pool, and what it has used is not known yet: nobody can be ended any more. */
  released(requestId: string, attempt: number, nowMs: number): void {
    const key = entryKey(requestId, attempt);
    this.#inFlight.protect(this.#inFlight.get(key));
    if (this.#reclamation.ended(key, nowMs))
      this.#inFlight.get(key)?.flow.band.counts.addDropped("evicted");
  }

  /**
   * A request that was let through has ended. Without usage what was expected stands; one that was
   * never sent took nothing, which is a usage too. False for one that is not in flight.
   */
  settled(
    requestId: string,
    attempt: number,
    { nowMs, usage }: { readonly nowMs: number; readonly usage?: TokenUsage },
  ): boolean {
    const ended = this.#inFlight.end(entryKey(requestId, attempt));
    if (ended !== undefined) this.#settle(ended, nowMs, usage);
    return ended !== undefined;
  }

  /**
   * Whether its Worker is there to be told. Away, a request keeps its place and its time runs on; it is
   * passed over until it is back. False for one that does not wait.
   */
  setAway(requestId: string, attempt: number, isAway: boolean): boolean {
    const entry = this.#waiting.get(entryKey(requestId, attempt));
    entry?.flow.band.setAway(entry, isAway);
    return entry !== undefined;
  }

  /** What a waiting request may expect; undefined for one that does not wait. */
  forecast(requestId: string, attempt: number, nowMs: number): Forecast | undefined {
    const entry = this.#waiting.get(entryKey(requestId, attempt));
    return entry && forecastOf(entry, this.#bands.descending, nowMs);
  }

  /** What a request of that priority may expect that has to wait. */
  arrivalForecast(priority: number, nowMs: number): Forecast {
    return forecastOfArrival(priority, this.#bands.descending, nowMs);
  }

  /** It waits elsewhere from now on: nothing has been refused. */
  leave(requestId: string, attempt: number, nowMs: number): void {
    const entry = this.#waiting.get(entryKey(requestId, attempt));
    if (entry === undefined) return;
    this.#waiting.remove(entry, nowMs);
    this.#bands.touched(entry.flow, nowMs);
  }

  /** Ejects those whose time has ended, and forgets what has been idle for long. */
  advance(nowMs: number): Ejected[] {
    const { hasEndpoints } = this.#waiting;
    const reason = hasEndpoints ? "rejected-ttl-expired" : "rejected-no-endpoints";
    const ejected = this.#waiting
      .expired(nowMs)
      .map((entry) =>
        this.#eject(entry, reason, nowMs, hasEndpoints ? undefined : TIMED_OUT_ALONE),
      );
    for (let old = this.#inFlight.overdue(nowMs); old; old = this.#inFlight.overdue(nowMs)) {
      this.#inFlight.end(old.key);
      this.#settle(old, nowMs);
    }
    this.#bands.collect(nowMs);
    return ejected;
  }

  /**
   * Requests in flight that are to be ended, because the last look for somebody to let through found a
   * higher priority held back. Their owner ends them, and says so by `settled`.
   */
  evictions(nowMs: number, conditions: ReclamationConditions): Ejected[] {
    if (this.#held === undefined) return [];
    const victims = this.#reclamation.victims(this.#held, this.#inFlight, nowMs, conditions);
    return victims.map(({ flow, request }) => {
      const retryAfterMs = retryAfterMsOf(flow.band, nowMs);
      return { ...refusal("evicted", retryAfterMs), request };
    });
  }

  /** Ejects everybody who waits, and refuses who comes. What is in flight goes on. */
  shutDown(nowMs: number): Ejected[] {
    this.#isShutDown = true;
    return Array.from(this.#waiting.entries(), (entry) =>
      this.#eject(entry, "rejected-shutting-down", nowMs),
    );
  }

  /** What the largest debtors owe: worth keeping where the memory may be lost. */
  debts(): FlowDebt[] {
    return debtsOf(this.#bands);
  }

  /** Debts of a life that ended just now: those of an hour ago would be held against the wrong rivals. */
  restoreDebts(debts: readonly FlowDebt[], nowMs: number): void {
    restoreDebts(this.#bands, debts, nowMs);
  }

  /** What flows have been served here: for the pool's other objects. */
  attained(): Total[] {
    return attainedIn(this.#bands);
  }

  /** By how much flows have been served by the pool's other objects meanwhile; keys as attained() has them. */
  servedElsewhere(tokens: ReadonlyMap<string, number>): void {
    chargeBands(this.#bands, tokens);
  }

  snapshot(nowMs: number): FlowControlSnapshot {
    return takeSnapshot(
      {
        bands: this.#bands.descending,
        load: this.#waiting.load,
        limits: this.#waiting.limits,
        saturation: this.#saturation,
        hasEndpoints: this.#waiting.hasEndpoints,
        inFlightCount: this.#inFlight.size,
        ceilingOf: (band) => this.#gate.ceilingOf(band),
        revocations: this.#reclamation.counts,
      },
      nowMs,
    );
  }

  get #isOneOver(): boolean {
    return this.#over !== undefined && this.#waiting.get(this.#over.key) === this.#over;
  }

  #displace(gone: readonly QueueEntry[], nowMs: number): Ejected[] {
    return gone.map((entry) => this.#eject(entry, "evicted-queue-pressure", nowMs));
  }

  #letThrough(entry: QueueEntry, nowMs: number): void {
    this.#waiting.remove(entry, nowMs);
    this.#inFlightFrom(entry, nowMs);
  }

  #inFlightFrom(entry: QueueEntry, nowMs: number): void {
    const { flow, request } = entry;
    const waitMs = Math.max(0, nowMs - entry.enqueuedAtMs);
    flow.band.counts.addWait(waitMs);
    flow.service.dispatched += 1;
    flow.service.waitSumMs += waitMs;
    flow.service.add(request, nowMs);
    flow.inFlightCount += 1;
    this.#inFlight.add(entry.key, flow, request, nowMs);
  }

  #settle({ key, flow, request }: InFlightRequest, nowMs: number, usage?: TokenUsage): void {
    const used = usage !== undefined && isSoundUsage(usage) ? usage : request;
    flow.inFlightCount -= 1;
    flow.service.add(differenceOf(used, request), nowMs);
    flow.band.fairness.settled?.(flow, { request, usage: used, nowMs });
    if (this.#reclamation.ended(key, nowMs)) flow.band.counts.addDropped("evicted");
    this.#bands.touched(flow, nowMs);
  }

  #eject(entry: QueueEntry, reason: DropReason, nowMs: number, detail?: string): Ejected {
    const { band } = entry.flow;
    this.#waiting.remove(entry, nowMs);
    this.#bands.touched(entry.flow, nowMs);
    band.counts.addDropped(reason);
    const retryAfterMs =
      reason === "rejected-no-endpoints" ? RETRY_AFTER_MS.noEndpoints : retryAfterMsOf(band, nowMs);
    return { ...refusal(reason, retryAfterMs, detail), request: entry.request };
  }
}

const ENQUEUED: Enqueued = { ok: true, displaced: [] };
const TIMED_OUT_ALONE = "request timed out in queue and no endpoints are available";

function differenceOf(used: TokenUsage, expected: QueuedRequest) {
  return {
    uncachedTokens: used.uncachedTokens - expected.uncachedTokens,
    outputTokens: used.outputTokens - expected.outputTokens,
  };
}

function refuse(band: PriorityBand, refused: FlowRefusal): FlowRefusal {
  band.counts.addDropped(refused.reason);
  return refused;
}

// A band: the flows of one priority, and everything that waits in them.

import { IndexedHeap } from "../support/indexed-heap.ts";
import { type QueueLimits, QueueLoad } from "./capacity.ts";
import type { BandFairness, FairnessContext, FairnessPolicy, OrderingPolicy } from "./contracts.ts";
import type { QueueTtls } from "./deadlines.ts";
import { DrainRate } from "./drain-rate.ts";
import { Flow } from "./flow.ts";
import { BandCounts } from "./flow-counts.ts";
import { isOlder, type QueueEntry } from "./queue-entry.ts";

export interface BandSettings {
  readonly limits: QueueLimits;
  readonly ttls: QueueTtls;
  readonly fairness: FairnessPolicy;
  readonly ordering: OrderingPolicy;
}

export class PriorityBand {
  readonly priority: number;
  readonly settings: BandSettings;
  readonly load = new QueueLoad();
  readonly drain = new DrainRate();
  readonly counts = new BandCounts();
  readonly flows = new Map<string, Flow>();
  readonly fairness: BandFairness;
  /** By the configuration or an objective. One that came by itself is collected when it is idle. */
  isDeclared: boolean;
  /** Unix ms. */
  usedAtMs: number;
  #awayCount = 0;
  #waitingFlowCount = 0;
  /** Unix ms; Infinity while nothing is restored. */
  #owedUntilMs = Infinity;
  readonly #newestFirst = new IndexedHeap<QueueEntry>(
    (a, b) => isOlder(b, a),
    (entry, index) => void (entry.ageIndex = index),
  );

  constructor(priority: number, settings: BandSettings, nowMs: number) {
    this.priority = priority;
    this.settings = settings;
    this.fairness = settings.fairness.forBand();
    this.isDeclared = false;
    this.usedAtMs = nowMs;
  }

  /** Somebody waits who can be chosen. */
  get isWaiting(): boolean {
    return this.load.requests > this.#awayCount;
  }

  /** Of those who wait, the ones that cannot be chosen now. */
  get awayCount(): number {
    return this.#awayCount;
  }

  /** Flows in which somebody waits, away or not. */
  get waitingFlowCount(): number {
    return this.#waitingFlowCount;
  }

  /** Those that came last first. The band must not change meanwhile. */
  *newestFirst(): Generator<QueueEntry> {
    const next = new IndexedHeap<number>(
      (a, b) => isOlder(this.#newestFirst.at(b)!, this.#newestFirst.at(a)!),
      () => {},
    );
    if (this.#newestFirst.size > 0) next.add(0);
    for (let place = next.removeAt(0); place !== undefined; place = next.removeAt(0)) {
      yield this.#newestFirst.at(place)!;
      for (const below of [2 * place + 1, 2 * place + 2])
        if (this.#newestFirst.at(below) !== undefined) next.add(below);
    }
  }

  /** In no order. */
  entries(): readonly QueueEntry[] {
    return this.#newestFirst.items();
  }

  add(entry: QueueEntry, nowMs: number): void {
    const { flow, request } = entry;
    entry.rank = this.settings.ordering.rank(entry);
    flow.weight = request.weight;
    this.forgive(nowMs);
    const before = flow.head;
    const wasAway = flow.awayCount > 0;
    flow.add(entry);
    if (flow.waitingCount + flow.awayCount === 1) this.#waitingFlowCount += 1;
    this.#newestFirst.add(entry);
    this.load.add(request);
    this.usedAtMs = nowMs;
    if (this.load.requests === 1) this.drain.setWaiting(true, nowMs);
    this.#joined(flow, before, wasAway);
  }

  /** Whatever the reason: it was let through, or waits no more. */
  remove(entry: QueueEntry, nowMs: number): void {
    const { flow, request, isAway } = entry;
    const isHead = flow.head === entry;
    flow.remove(entry);
    if (flow.waitingCount + flow.awayCount === 0) this.#waitingFlowCount -= 1;
    if (isAway) this.#awayCount -= 1;
    this.#newestFirst.removeAt(entry.ageIndex);
    this.load.remove(request);
    this.usedAtMs = nowMs;
    if (this.load.requests === 0) this.drain.setWaiting(false, nowMs);
    if (!isAway) this.#headMayHaveLeft(flow, isHead);
  }

  /** Away, it stays in the band's load and keeps its place, and nobody chooses it. */
  setAway(entry: QueueEntry, isAway: boolean): void {
    const { flow } = entry;
    if (entry.isAway === isAway) return;
    const before = flow.head;
    flow.setAway(entry, isAway);
    this.#awayCount += isAway ? 1 : -1;
    if (isAway) this.#headMayHaveLeft(flow, before === entry);
    else this.#joined(flow, before, true);
  }

  /** Takes out whose turn it is; undefined where nothing waits. */
  takeNext(context: FairnessContext): QueueEntry | undefined {
    const flow = this.fairness.choose(context) as Flow | undefined;
    const entry = flow?.head;
    if (flow === undefined || entry === undefined) return undefined;
    this.fairness.dispatched?.(flow, entry.request);
    if (context.nowMs > entry.enqueuedAtMs) this.drain.served(context.nowMs);
    this.remove(entry, context.nowMs);
    return entry;
  }

  /** It has passed elsewhere, without waiting: its flow is charged as if it had been chosen at once. */
  passed(entry: QueueEntry, nowMs: number): void {
    this.add(entry, nowMs);
    this.fairness.dispatched?.(entry.flow, entry.request);
    this.remove(entry, nowMs);
  }

  /** The flow, made if it is new. */
  flowOf(fairnessId: string): Flow {
    let flow = this.flows.get(fairnessId);
    if (flow === undefined) {
      flow = new Flow(this, fairnessId);
      this.flows.set(fairnessId, flow);
    }
    return flow;
  }

  #joined(flow: Flow, before: QueueEntry | undefined, wasAway: boolean): void {
    if (before === undefined) this.fairness.joined(flow, wasAway);
    else if (flow.head !== before) this.fairness.headChanged?.(flow);
  }

  #headMayHaveLeft(flow: Flow, wasHead: boolean): void {
    if (flow.waitingCount === 0) this.fairness.left(flow);
    else if (wasHead) this.fairness.headChanged?.(flow);
  }

  forget(flow: Flow): void {
    this.flows.delete(flow.fairnessId);
    this.fairness.forgotten?.(flow);
  }

  /** Debts of a life before; what is left of them then is forgiven. */
  restore(debts: ReadonlyMap<string, number>, untilMs: number): void {
    this.#owedUntilMs = untilMs;
    this.fairness.restore?.(debts);
  }

  /** Drops what is restored if its time is over. */
  forgive(nowMs: number): void {
    if (nowMs < this.#owedUntilMs) return;
    this.#owedUntilMs = Infinity;
    this.fairness.restore?.(new Map());
  }
}

// By which rules requests of a pool are let through now, and how full the pool is by them.
//
// The rules change with the configuration; who waits, and what flows owe, goes over to those that follow.

import type { FairnessContext, QueuedRequest } from "../../scheduler/flow-control/contracts.ts";
import type { FlowDebt } from "../../scheduler/flow-control/debts.ts";
import { FlowController } from "../../scheduler/flow-control/flow-controller.ts";
import type { Ejected } from "../../scheduler/flow-control/outcomes.ts";
import { SaturationMeter, toldOf } from "../../scheduler/flow-control/saturation.ts";
import type { Total } from "../../scheduler/shards/totals.ts";
import { creditRoom, type QueueOutlook, queueOutlook } from "./outlook.ts";
import type { PickQueueOptions, PoolRoom, QueueSettings } from "./queue-options.ts";

type FlowGateOptions = Pick<
  PickQueueOptions,
  "clock" | "pool" | "hasRoom" | "capacity" | "matchTokens"
>;

export class FlowGate {
  readonly #options: FlowGateOptions;
  #controller: FlowController;
  #meter: SaturationMeter;
  /** Tells the controller from those before. */
  #begun: string;
  #changes = 0;
  #isOpen = false;
  #endpointCount = 0;

  constructor(settings: QueueSettings, options: FlowGateOptions) {
    this.#options = options;
    const nowMs = options.clock();
    this.#controller = new FlowController(settings.flowControl, nowMs);
    this.#begun = `${nowMs}.0`;
    this.#controller.declarePriorities(settings.priorities, nowMs);
    this.#meter = new SaturationMeter(settings.detector);
  }

  /** The rules in force: another one after `configure`. */
  get controller(): FlowController {
    return this.#controller;
  }

  /** As last measured. */
  get endpointCount(): number {
    return this.#endpointCount;
  }

  /** Other rules from now on. Answers who waits by those before, to be brought under the new ones. */
  configure(settings: QueueSettings): Iterable<QueuedRequest> {
    const nowMs = this.#options.clock();
    const before = this.#controller;
    this.#controller = new FlowController(settings.flowControl, nowMs, before.regime);
    this.#begun = `${nowMs}.${++this.#changes}`;
    this.#controller.declarePriorities(settings.priorities, nowMs);
    this.#controller.restoreDebts(before.debts(), nowMs);
    this.#meter = new SaturationMeter(settings.detector);
    this.#isOpen = false;
    return before.waitingRequests();
  }

  /** Nobody has to wait any more, until there are other rules. */
  open(): void {
    this.#isOpen = true;
  }

  /** How full the pool is for whoever is next: below every ceiling while open, Infinity where nobody may pass. O(endpoints). */
  measure(): { readonly saturation: number; readonly endpointCount: number } {
    const view = this.#options.pool();
    const { saturation, endpointCount } = this.#meter.measure(view);
    this.#controller.setEndpointCount(endpointCount, view.nowMs);
    this.#endpointCount = endpointCount;
    if (this.#isOpen) return { saturation: -1, endpointCount };
    const { hasRoom, capacity } = this.#options;
    const mayPass = hasRoom() && (capacity?.isThere() ?? true);
    return { saturation: mayPass ? saturation : Infinity, endpointCount };
  }

  /** Whose turn it is, if anybody's. */
  next(nowMs: number): { readonly turn: QueuedRequest; readonly saturation: number } | undefined {
    if (this.#controller.waitingCount === 0) return undefined;
    const { saturation } = this.measure();
    const turn = this.#controller.next(nowMs, { saturation, matchTokens: this.#matchTokens });
    return turn && { turn, saturation };
  }

  /** Requests under way that make room for whoever waits. */
  evictions(): Iterable<Ejected> {
    const view = this.#options.pool();
    const lagMs = this.#meter.lagMs(view.staleAfterMs);
    const freshSaturation = () => this.#meter.freshSaturation(view);
    return this.#controller.evictions(view.nowMs, { lagMs, freshSaturation });
  }

  /**
   * How many requests may be let through elsewhere without one that comes here having to wait; none while
   * anybody does. O(endpoints + bands).
   */
  creditRoom(): number {
    const mayPass = !this.#isOpen && this.#options.hasRoom();
    return mayPass ? creditRoom(this.#controller, this.#meter, this.#options.pool()) : 0;
  }

  /** What the pool has room for as its detector sees it, and would have if it were idle. O(endpoints). */
  poolRoom(): PoolRoom {
    const view = this.#options.pool();
    return { room: this.#meter.room(view), capacity: this.#meter.capacity(view) };
  }

  /** What a request may expect that comes now. O(endpoints + bands). */
  outlook(): QueueOutlook {
    return queueOutlook(this.#controller, this.#meter, this.#options.pool());
  }

  debts(): FlowDebt[] {
    return this.#controller.debts();
  }

  restoreDebts(debts: readonly FlowDebt[]): void {
    this.#controller.restoreDebts(debts, this.#options.clock());
  }

  /** What flows have been served here; see FlowController. The totals of each set of rules are another life's. */
  attained(): Total[] {
    const life = (total: Total) => `${this.#begun}.${total.life}`;
    return this.#controller.attained().map((total) => ({ ...total, life: life(total) }));
  }

  /** What the pool's other objects have served meanwhile: somebody else's turn may have come. */
  servedElsewhere(tokens: ReadonlyMap<string, number>): void {
    if (tokens.size > 0) this.#controller.servedElsewhere(tokens);
  }

  /** For operators: as it is now, also where nobody has asked for a while. */
  state() {
    const view = this.#options.pool();
    const measured = this.#meter.measure(view);
    this.#controller.setEndpointCount(measured.endpointCount, view.nowMs);
    return {
      ...this.#controller.snapshot(view.nowMs),
      ...toldOf(measured),
      staleEndpoints: this.#meter.staleCount(view),
    };
  }

  readonly #matchTokens: NonNullable<FairnessContext["matchTokens"]> = ({ keys, blocksPerKey }) =>
    this.#options.matchTokens(keys, blocksPerKey);
}

// Whether a pick is decided on at once: by the pool's queue where flow control is on, and else by the
// gate that turns sheddable requests away from a full pool.

import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import {
  flowControlSettingsOf,
  isFlowControlOn,
  type PluginInstances,
  saturationDetectorOf,
} from "../../scheduler/flow-control/of-config.ts";
import { RETRY_AFTER_MS } from "../../scheduler/flow-control/drain-rate.ts";
import { SaturationMeter } from "../../scheduler/flow-control/saturation.ts";
import { SheddableGate } from "../../scheduler/flow-control/sheddable-gate.ts";
import type { PickRequest } from "../contract.ts";
import type { QueueState } from "../state.ts";
import { PickQueue } from "./pick-queue.ts";
import { passingOutlook, type QueueOutlook } from "./outlook.ts";
import type { PickQueueOptions } from "./queue-options.ts";
import type { WaitAnswer, WaitingPick } from "./waiting-pick.ts";

/** Of a configuration, what says who waits. */
export interface AdmissionRules {
  readonly scheduler: SchedulerConfig;
  readonly plugins: PluginInstances;
  /** Bands that are there before anything waits in them. */
  readonly priorities: readonly number[];
  /** Of the pool: each keeps its part of what may wait. */
  readonly objects: number;
}

export class Admission {
  readonly #options: PickQueueOptions;
  #rules: AdmissionRules | undefined;
  #gate: SheddableGate | undefined;
  /** Of the pool without a queue. */
  #meter: SaturationMeter | undefined;
  #queue: PickQueue | undefined;
  /** The pool has another number of objects. Until nobody waits the queue keeps its limits: none is to lose its place. */
  #isResized = false;

  constructor(options: PickQueueOptions) {
    this.#options = options;
  }

  /** undefined where flow control is off, and nobody has to wait from when it was on. */
  get queue(): PickQueue | undefined {
    const isEmpty = this.#queue?.waitingCount === 0;
    if (this.#gate !== undefined && isEmpty) this.#queue = undefined;
    else if (this.#isResized && isEmpty) this.#build(this.#rules!);
    return this.#queue;
  }

  /** What waits; null where flow control is off. */
  state(): QueueState | null {
    const state = this.queue?.state();
    if (state === undefined || this.#rules === undefined) return null;
    const { pluginRef } = this.#rules.scheduler.flowControl.saturationDetector;
    return { ...state, detector: pluginRef };
  }

  /** What a request may expect that comes now; undefined for a pool that is not configured. */
  outlook(): QueueOutlook | undefined {
    if (this.queue !== undefined) return this.queue.gate.outlook();
    return this.#meter && passingOutlook(this.#meter, this.#options.pool());
  }

  /** Whether a request that was let through may be ended for another. */
  get mayEvict(): boolean {
    return this.#gate === undefined && this.#rules?.scheduler.flowControl.enableEviction === true;
  }

  /** undefined: the pool is not configured any more. */
  configure(rules: AdmissionRules | undefined): void {
    const before = this.#rules;
    this.#rules = rules;
    if (rules === undefined) return this.#close();
    if (rules.plugins !== before?.plugins) return this.#build(rules);
    this.#isResized ||= rules.objects !== before.objects;
    this.#queue?.declare(rules.priorities);
  }

  /** undefined: it is decided on at once. */
  answer(pick: PickRequest, holder: number): WaitAnswer | WaitingPick | undefined {
    const { queue } = this;
    if (queue !== undefined) return queue.pick(pick, holder);
    const dropped = this.#gate?.refusal(pick.request, this.#options.pool());
    if (dropped === undefined) return undefined;
    const { request, attempt, flow } = pick;
    const refusal = { ...dropped, retryAfterMs: RETRY_AFTER_MS.min };
    const fairnessId = flow?.fairnessId ?? request.tenant;
    const facts = { waitedMs: 0, priority: request.priority, fairnessId };
    this.#options.refused({ request, attempt }, refusal, facts);
    return refusal;
  }

  #build({ scheduler, plugins, priorities, objects }: AdmissionRules): void {
    const detector = saturationDetectorOf(scheduler, plugins);
    this.#isResized = false;
    if (!isFlowControlOn(scheduler)) {
      this.#gate = new SheddableGate(detector);
      this.#meter = new SaturationMeter(detector);
      this.#queue?.letAllThrough();
      return;
    }
    this.#gate = undefined;
    this.#meter = undefined;
    const flowControl = flowControlSettingsOf(scheduler, plugins, objects);
    const settings = { flowControl, detector, priorities };
    if (this.#queue === undefined) this.#queue = new PickQueue(settings, this.#options);
    else this.#queue.configure(settings);
  }

  #close(): void {
    this.#queue?.shutDown();
    this.#queue = undefined;
    this.#gate = undefined;
    this.#meter = undefined;
  }
}

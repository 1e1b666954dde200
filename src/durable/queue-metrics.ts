// What a pool's queue shows to Prometheus. Waits are counted as they end; gauges are set from the queue's
// state when they are read.
//
// Fairness ids come from clients and are many, so few have series of their own: of the gauges those that
// the queue's state tells one by one, of the histogram those that came first and have not been idle for
// long. The others count as OTHER_FLOWS.

import { FLOW_IDLE_MS } from "../scheduler/flow-control/bands.ts";
import {
  type BandSnapshot,
  FLOWS_TOLD_MAX,
  OTHER_FLOWS,
  type QueueRoom,
  type QueueSize,
} from "../scheduler/flow-control/snapshot.ts";
import type { DropReason } from "../scheduler/outcome.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import { FLOW_CONTROL_METRIC as METRIC } from "../telemetry/flow-control-names.ts";
import type { MetricDefinition, MetricRegistry } from "../telemetry/metrics.ts";
import type { QueueState } from "./state.ts";

/** Flows of all bands with a histogram of their own; each may have one for every outcome. */
export const FLOWS_NAMED_MAX = 10 * FLOWS_TOLD_MAX;

/** A request waits no more, was not let in, or was ended after it had been let through. */
export interface QueueEnd {
  /** Of the band it was in. */
  readonly priority: number;
  readonly fairnessId: string;
  readonly reason: DropReason | "dispatched";
  /** 0 for one that was not let in. */
  readonly waitMs: number;
}

/** As llm-d calls them (pkg/epp/flowcontrol/types/outcomes.go); the last one it does not have. */
const OUTCOMES = {
  dispatched: "Dispatched",
  "rejected-saturated": "RejectedCapacity",
  "rejected-no-endpoints": "RejectedNoEndpoints",
  "rejected-ttl-expired": "EvictedTTL",
  "rejected-context-cancelled": "EvictedContextCancelled",
  "rejected-shutting-down": "RejectedOther",
  "evicted-queue-pressure": "EvictedQueuePressure",
} as const satisfies Record<Exclude<QueueEnd["reason"], "evicted">, string>;
/** Of those that had been let in. */
const OUTCOMES_AFTER_WAIT = {
  ...OUTCOMES,
  "rejected-no-endpoints": "EvictedNoEndpoints",
  "rejected-shutting-down": "EvictedOther",
} as const;

const GAUGES = Object.values<MetricDefinition>(METRIC).filter(({ kind }) => kind === "gauge");

export interface QueueMetricsOptions {
  readonly registry: MetricRegistry;
  readonly clock: Clock;
  /** Name of the pool. */
  readonly pool: () => string;
}

export class QueueMetrics {
  readonly #registry: MetricRegistry;
  readonly #clock: Clock;
  readonly #pool: () => string;
  /** By priority: flows with a histogram of their own, those idle longest first, and since when. */
  readonly #named = new Map<number, Map<string, number>>();
  #namedCount = 0;

  constructor({ registry, clock, pool }: QueueMetricsOptions) {
    this.#registry = registry;
    this.#clock = clock;
    this.#pool = pool;
  }

  /** To be called once at each end. One that is `evicted` has been `dispatched` before. */
  queueEnded({ priority: band, fairnessId, reason, waitMs }: QueueEnd): void {
    const inference_pool = this.#pool();
    const priority = String(band);
    if (reason === "evicted") {
      this.#registry.inc(METRIC.revocationsIssuedTotal, { priority, inference_pool });
      return;
    }
    const outcome = (waitMs > 0 ? OUTCOMES_AFTER_WAIT : OUTCOMES)[reason];
    this.#registry.inc(METRIC.queueEndsTotal, { outcome, priority, inference_pool });
    const fairness_id = this.#nameOf(band, fairnessId);
    const labels = { fairness_id, priority, outcome, inference_pool };
    this.#registry.observe(METRIC.queueSeconds, labels, waitMs / 1_000);
  }

  /** A request that waits was asked for again. */
  queueAskedAgain(): void {
    this.#registry.inc(METRIC.queueAskedAgainTotal, { inference_pool: this.#pool() });
  }

  /** Sets the gauges, before a render. null: flow control is off, and there are none. */
  show(state: QueueState | null): void {
    this.#forgetIdle();
    for (const gauge of GAUGES) this.#registry.reset(gauge);
    if (state === null) return;
    const registry = this.#registry;
    const pool = { inference_pool: this.#pool() };
    const { stages = {}, detector = "" } = state;
    for (const [stage, saturation] of Object.entries({ ...stages, effective: state.saturation }))
      registry.set(METRIC.poolSaturation, { ...pool, stage }, saturation);
    registry.set(METRIC.staleEndpoints, { ...pool, detector }, state.staleEndpoints);
    const { ended, untold, spared } = state.revocations;
    const outcomes = Object.entries({ confirmed: ended, timed_out: untold, spared });
    for (const [outcome, count] of outcomes)
      registry.set(METRIC.revocationsTotal, { ...pool, outcome }, count);
    registry.set(METRIC.queueOpenWaits, pool, state.openWaits);
    registry.set(METRIC.queuePlaces, pool, state.places);
    registry.set(METRIC.queueInFlight, pool, state.inFlight);
    const used = utilizationOf(state.waiting, state.limits);
    if (used.requests !== undefined)
      registry.set(METRIC.globalCapacityRequests, pool, used.requests);
    if (used.bytes !== undefined) registry.set(METRIC.globalCapacityBytes, pool, used.bytes);
    if (used.tokens !== undefined) registry.set(METRIC.globalCapacityTokens, pool, used.tokens);
    for (const band of state.bands) this.#showBand(band);
  }

  #showBand(band: BandSnapshot): void {
    const registry = this.#registry;
    const labels = { priority: String(band.priority), inference_pool: this.#pool() };
    const used = utilizationOf(band.waiting, band.limits);
    if (used.requests !== undefined) registry.set(METRIC.capacityRequests, labels, used.requests);
    if (used.bytes !== undefined) registry.set(METRIC.capacityBytes, labels, used.bytes);
    if (used.tokens !== undefined) registry.set(METRIC.capacityTokens, labels, used.tokens);
    if (band.ceiling !== null) registry.set(METRIC.bandCeiling, labels, band.ceiling);
    if (band.drainPerSecond !== null)
      registry.set(METRIC.bandDrainRate, labels, band.drainPerSecond);
    registry.set(METRIC.bandOldestSeconds, labels, band.oldestWaitMs / 1_000);
    registry.set(METRIC.bandFairness, labels, band.jainIndex);
    registry.set(METRIC.bandFlows, labels, band.flowCount);
    for (const { fairnessId, waiting, waitingBytes } of band.flows) {
      // Added up, not set: a client may call its flow as the others are called together.
      const ofFlow = { ...labels, fairness_id: fairnessId };
      registry.inc(METRIC.queueSize, ofFlow, waiting);
      registry.inc(METRIC.queueBytes, ofFlow, waitingBytes);
    }
  }

  /** What the histogram calls a flow. */
  #nameOf(priority: number, fairnessId: string): string {
    if (!this.#mayName(priority, fairnessId)) return OTHER_FLOWS;
    const named = this.#named.get(priority) ?? new Map<string, number>();
    this.#named.set(priority, named);
    if (!named.delete(fairnessId)) this.#namedCount += 1;
    named.set(fairnessId, this.#clock());
    return fairnessId;
  }

  #mayName(priority: number, fairnessId: string): boolean {
    if (fairnessId === OTHER_FLOWS) return false;
    if (this.#named.get(priority)?.has(fairnessId) === true) return true;
    const hasRoom = () =>
      this.#namedCount < FLOWS_NAMED_MAX && (this.#named.get(priority)?.size ?? 0) < FLOWS_TOLD_MAX;
    if (!hasRoom()) this.#forgetIdle();
    return hasRoom();
  }

  #forgetIdle(): void {
    const idleSinceMs = this.#clock() - FLOW_IDLE_MS;
    for (const [band, named] of this.#named) {
      for (const [fairness_id, usedAtMs] of named) {
        if (usedAtMs > idleSinceMs) break;
        named.delete(fairness_id);
        this.#namedCount -= 1;
        this.#registry.forget(METRIC.queueSeconds, { fairness_id, priority: String(band) });
      }
      if (named.size === 0) this.#named.delete(band);
    }
  }
}

/** What waits over what may; a member is absent where there is no limit. */
function utilizationOf(waiting: QueueSize, limits: QueueRoom): QueueRoom {
  const used: { -readonly [Member in keyof QueueRoom]: number } = {};
  for (const member of ["requests", "bytes", "tokens"] as const) {
    const limit = limits[member];
    if (limit !== undefined) used[member] = limit === 0 ? 1 : waiting[member] / limit;
  }
  return used;
}

// Builders of what flow control is given, from the few facts a test is about.

import type { BandsSettings } from "../../../src/scheduler/flow-control/bands.ts";
import { type QueueLimits, UNLIMITED } from "../../../src/scheduler/flow-control/capacity.ts";
import type {
  FairnessContext,
  FairnessPolicy,
  OrderingPolicy,
  QueuedRequest,
  UsageLimitPolicy,
} from "../../../src/scheduler/flow-control/contracts.ts";
import type { PoolRegime } from "../../../src/scheduler/flow-control/deadlines.ts";
import {
  FlowController,
  type FlowControlSettings,
} from "../../../src/scheduler/flow-control/flow-controller.ts";
import {
  type BandSettings,
  PriorityBand,
} from "../../../src/scheduler/flow-control/priority-band.ts";
import { QueueEntry } from "../../../src/scheduler/flow-control/queue-entry.ts";
import { createPlugin } from "./plugins.ts";

export const NOW_MS = 1_700_000_000_000;

let serial = 0;

/** A request of a thousand uncached tokens in and a hundred out; its id is new. */
export function queued(facts: Partial<QueuedRequest> = {}): QueuedRequest {
  serial += 1;
  return {
    requestId: `r${serial}`,
    attempt: 0,
    fairnessId: "a",
    priority: 0,
    weight: 1,
    bytes: 1_000,
    promptTokens: 1_000,
    uncachedTokens: 1_000,
    outputTokens: 100,
    receivedAtMs: NOW_MS,
    keys: new Uint32Array(0),
    blocksPerKey: 1,
    ...facts,
  };
}

export function fairnessOf(type: string, params: object = {}): FairnessPolicy {
  return createPlugin(type, params) as FairnessPolicy;
}

export function orderingOf(type: string): OrderingPolicy {
  return createPlugin(type, {}) as OrderingPolicy;
}

export function usageLimitOf(type: string, params: object = {}): UsageLimitPolicy {
  return createPlugin(type, params) as UsageLimitPolicy;
}

export interface BandFacts {
  readonly limits?: Partial<QueueLimits>;
  readonly ttlMs?: number;
  readonly noEndpointTtlMs?: number;
  readonly fairness?: FairnessPolicy;
  readonly ordering?: OrderingPolicy;
}

/** Without bounds, fair by tokens, first come first served. */
export function bandSettings(facts: BandFacts = {}): BandSettings {
  return {
    limits: { ...UNLIMITED, ...facts.limits },
    ttls: {
      withEndpointsMs: facts.ttlMs ?? Infinity,
      withoutEndpointsMs: facts.noEndpointTtlMs ?? facts.ttlMs ?? Infinity,
    },
    fairness: facts.fairness ?? fairnessOf("weighted-token-fairness"),
    ordering: facts.ordering ?? orderingOf("fcfs-ordering-policy"),
  };
}

export interface ControllerFacts extends Partial<Omit<FlowControlSettings, keyof BandsSettings>> {
  /** All bands, where `bands` names none. */
  readonly band?: BandFacts;
  readonly bands?: Readonly<Record<number, BandFacts>>;
  /** 1 where it is left out; null where it is not told. */
  readonly endpointCount?: number | null;
  readonly regime?: PoolRegime | undefined;
}

export function createController(facts: ControllerFacts = {}): FlowController {
  const { band = {}, bands = {}, endpointCount = 1, regime, ...settings } = facts;
  const entries = Object.entries(bands).map(
    ([priority, each]) => [Number(priority), bandSettings({ ...band, ...each })] as const,
  );
  const controller = new FlowController(
    {
      limits: UNLIMITED,
      usageLimit: usageLimitOf("static-usage-limit-policy"),
      ...settings,
      bands: new Map(entries),
      defaultBand: bandSettings(band),
      defaultNegativeBand: bandSettings(band),
    },
    NOW_MS,
    regime,
  );
  if (endpointCount !== null) controller.setEndpointCount(endpointCount, NOW_MS);
  return controller;
}

/** Lets requests through until nobody is; their ids in order. */
export function drain(controller: FlowController, nowMs = NOW_MS, saturation = 0): string[] {
  const ids: string[] = [];
  for (;;) {
    const request = controller.next(nowMs, { saturation });
    if (request === undefined) return ids;
    ids.push(request.requestId);
  }
}

/** A band alone, for tests of its policies. */
export class BandAlone {
  readonly band: PriorityBand;
  #sequence = 0;

  constructor(facts: BandFacts) {
    this.band = new PriorityBand(0, bandSettings(facts), NOW_MS);
  }

  enqueue(facts: Partial<QueuedRequest>, nowMs = NOW_MS): QueueEntry {
    const request = queued(facts);
    const flow = this.band.flowOf(request.fairnessId);
    const entry = new QueueEntry(flow, request, { nowMs, sequence: ++this.#sequence });
    if (request.ttlMs !== undefined) entry.expiresAtMs = entry.receivedAtMs + request.ttlMs;
    this.band.add(entry, nowMs);
    return entry;
  }

  /** Serves `count` requests; the fairness ids in order. */
  serve(count: number, context: Partial<FairnessContext> = {}): string[] {
    return Array.from({ length: count }, () => {
      const entry = this.band.takeNext({ nowMs: NOW_MS, ...context });
      return entry?.request.fairnessId ?? "nobody";
    });
  }
}

// Flow control at one moment, for metrics and for people. Every list is bounded: of a band's flows
// those that matter most are told, the rest as one.

import type { QueueLimits, QueueLoad } from "./capacity.ts";
import type { Flow } from "./flow.ts";
import { jainIndex } from "./flow-counts.ts";
import type { DropReason } from "../outcome.ts";
import type { RevocationCounts } from "./reclamation.ts";
import type { PriorityBand } from "./priority-band.ts";

/** Flows of a band that are told one by one. */
export const FLOWS_TOLD_MAX = 20;
/** The fairness id under which the others are told together. */
export const OTHER_FLOWS = "other";

export interface QueueSize {
  readonly requests: number;
  readonly bytes: number;
  readonly tokens: number;
}

/** What may wait; a member is absent where there is no limit. */
export type QueueRoom = Partial<QueueSize>;

export interface FlowSnapshot {
  readonly fairnessId: string;
  readonly weight: number;
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly inFlight: number;
  readonly dispatched: number;
  readonly meanWaitMs: number;
  /** Served in this minute and the last, answers twofold. */
  readonly tokensLately: number;
}

export interface BandSnapshot {
  readonly priority: number;
  /** null for a band that the usage limit policy has not looked at. */
  readonly ceiling: number | null;
  readonly waiting: QueueSize;
  readonly limits: QueueRoom;
  /** 0 where nothing waits. */
  readonly oldestWaitMs: number;
  readonly enqueued: number;
  readonly dispatched: number;
  readonly waitSumMs: number;
  readonly waitMaxMs: number;
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  /** null before anything has waited. */
  readonly drainPerSecond: number | null;
  /** Of the tokens lately served by weight, over the flows in which something waits; 1 is fair. */
  readonly jainIndex: number;
  readonly flowCount: number;
  /** Most waiting first, then most served; the last one is OTHER_FLOWS if there are more. */
  readonly flows: readonly FlowSnapshot[];
}

export interface FlowControlSnapshot {
  readonly saturation: number;
  readonly hasEndpoints: boolean;
  readonly waiting: QueueSize;
  readonly limits: QueueRoom;
  readonly inFlight: number;
  /** Requests that were to be ended for one of a higher priority. */
  readonly revocations: RevocationCounts;
  /** Highest first. */
  readonly bands: readonly BandSnapshot[];
}

export interface SnapshotSource {
  readonly bands: readonly PriorityBand[];
  readonly load: Readonly<QueueLoad>;
  readonly limits: QueueLimits;
  readonly saturation: number;
  readonly hasEndpoints: boolean;
  readonly inFlightCount: number;
  readonly revocations: RevocationCounts;
  readonly ceilingOf: (band: PriorityBand) => number | undefined;
}

export function takeSnapshot(source: SnapshotSource, nowMs: number): FlowControlSnapshot {
  return {
    saturation: source.saturation,
    hasEndpoints: source.hasEndpoints,
    waiting: sizeOf(source.load),
    limits: roomOf(source.limits),
    inFlight: source.inFlightCount,
    revocations: source.revocations,
    bands: source.bands.map((band) => bandSnapshot(band, source.ceilingOf(band), nowMs)),
  };
}

function bandSnapshot(
  band: PriorityBand,
  ceiling: number | undefined,
  nowMs: number,
): BandSnapshot {
  const { enqueued, dispatched, waitSumMs, waitMaxMs, dropped } = band.counts;
  const flows = [...band.flows.values()];
  const waiting = flows.filter(({ waitingCount, awayCount }) => waitingCount + awayCount > 0);
  const served = waiting.map(({ service, weight }) => service.tokensLately(nowMs) / weight);
  let oldestMs = nowMs;
  for (const { enqueuedAtMs } of band.entries()) oldestMs = Math.min(oldestMs, enqueuedAtMs);
  return {
    priority: band.priority,
    ceiling: ceiling ?? null,
    waiting: sizeOf(band.load),
    limits: roomOf(band.settings.limits),
    oldestWaitMs: nowMs - oldestMs,
    enqueued,
    dispatched,
    waitSumMs,
    waitMaxMs,
    dropped: { ...dropped },
    drainPerSecond: band.drain.perSecond(nowMs) ?? null,
    jainIndex: jainIndex(served),
    flowCount: flows.length,
    flows: topFlows(flows, nowMs),
  };
}

function topFlows(flows: readonly Flow[], nowMs: number): FlowSnapshot[] {
  const sorted = flows
    .map((flow) => flowSnapshot(flow, nowMs))
    .sort((a, b) => b.waiting - a.waiting || b.tokensLately - a.tokensLately);
  const told = sorted.slice(0, FLOWS_TOLD_MAX);
  const rest = sorted.slice(FLOWS_TOLD_MAX);
  return rest.length === 0 ? told : [...told, together(rest)];
}

function flowSnapshot(flow: Flow, nowMs: number): FlowSnapshot {
  const { dispatched, waitSumMs } = flow.service;
  return {
    fairnessId: flow.fairnessId,
    weight: flow.weight,
    waiting: flow.waitingCount + flow.awayCount,
    waitingBytes: flow.waitingBytes,
    inFlight: flow.inFlightCount,
    dispatched,
    meanWaitMs: dispatched === 0 ? 0 : waitSumMs / dispatched,
    tokensLately: flow.service.tokensLately(nowMs),
  };
}

/** Several flows as one, under OTHER_FLOWS. */
export function together(flows: readonly FlowSnapshot[]): FlowSnapshot {
  const sum = (value: (flow: FlowSnapshot) => number) =>
    flows.reduce((total, flow) => total + value(flow), 0);
  const dispatched = sum((flow) => flow.dispatched);
  const waitMs = sum((flow) => flow.meanWaitMs * flow.dispatched);
  return {
    fairnessId: OTHER_FLOWS,
    weight: sum(({ weight }) => weight),
    waiting: sum(({ waiting }) => waiting),
    waitingBytes: sum(({ waitingBytes }) => waitingBytes),
    inFlight: sum(({ inFlight }) => inFlight),
    dispatched,
    meanWaitMs: dispatched === 0 ? 0 : waitMs / dispatched,
    tokensLately: sum(({ tokensLately }) => tokensLately),
  };
}

function sizeOf({ requests, bytes, tokens }: Readonly<QueueLoad>): QueueSize {
  return { requests, bytes, tokens };
}

function roomOf({ requests, bytes, tokens }: QueueLimits): QueueRoom {
  return {
    ...(requests === Infinity ? {} : { requests }),
    ...(bytes === Infinity ? {} : { bytes }),
    ...(tokens === Infinity ? {} : { tokens }),
  };
}

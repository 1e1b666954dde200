// What a pool's object says of the pool, from what it knows at one moment.
//
//   wait = in the object's queue            what waits ahead / rate at which it is served
//        + in the endpoint with the least   prompts sent there before, and KV memory that is to become free
//
// Loads are those of endpoints that a request can be sent to now. With none, what is known of the others
// is told as it last was, and the wait is the longest there is: a pool without a usable endpoint is the
// last to be chosen, and never looks idle.

import { isEjected } from "../../scheduler/ejection.ts";
import { isFresh } from "../../scheduler/freshness.ts";
import type { EndpointColumns } from "../../scheduler/model/endpoint-columns.ts";
import type { EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import { memoryWaitMs } from "../../scheduler/model/predict-ttft.ts";
import type {
  LoadSignal,
  MembershipSignal,
  PoolSummary,
  SpeedSignal,
} from "../../scheduler/pools/summary.ts";
import { SUMMARY_NAMES_MAX } from "../../scheduler/pools/summary.ts";
import { hasRole } from "../../scheduler/roles.ts";
import type { ServedNames } from "../endpoints.ts";
import type { QueueOutlook } from "../queue/outlook.ts";

/** A longer wait is told as this one. */
export const WAIT_MS_MAX = 60_000;
/** For somebody who waits in a pool of which no rate is known. */
const WAIT_UNKNOWN_MS = 1_000;

export interface PoolFacts {
  readonly pool: string;
  readonly incarnation: string;
  readonly seq: number;
  readonly configVersion: number;
  readonly shard?: PoolSummary["shard"];
  readonly nowMs: number;
  readonly staleAfterMs: number;
  readonly table: EndpointTable;
  readonly agents: number;
  /** When collectors have last said anything; -Infinity before the first. */
  readonly toldAtMs: number;
  readonly names: ServedNames;
  readonly outlook: QueueOutlook;
  readonly endedPerSecond: number;
  readonly digestVersion: string | undefined;
}

export function summarize(facts: PoolFacts): PoolSummary {
  const { pool, incarnation, seq, configVersion, shard, digestVersion } = facts;
  const usable = usableSlots(facts);
  const membership = membershipOf(facts, usable.length);
  const load = loadOf(facts, usable);
  const speed = speedOf(facts, usable);
  return {
    pool,
    incarnation,
    seq,
    configVersion,
    ...(shard === undefined ? {} : { shard }),
    ...(membership === undefined ? {} : { membership }),
    ...(load === undefined ? {} : { load }),
    ...(speed === undefined ? {} : { speed }),
    ...(digestVersion === undefined ? {} : { digestVersion }),
  };
}

/** What of a summary is told at once when it changes. Loads change all the time. */
export function healthOf({ configVersion, membership, load }: PoolSummary): string {
  const { endpoints, usable, agents, models } = membership ?? {};
  const isFull = load !== undefined && !(load.saturation < 1);
  return JSON.stringify([configVersion, endpoints, usable, agents, models, isFull, !load]);
}

function usableSlots({ table, nowMs, staleAfterMs }: PoolFacts): number[] {
  const context = { endpoints: table.columns, nowMs, staleAfterMs };
  return [...table.slots()].filter((slot) => isFresh(context, slot) && !isEjected(context, slot));
}

function membershipOf(facts: PoolFacts, usable: number): MembershipSignal | undefined {
  const { table, nowMs, toldAtMs, agents, names } = facts;
  if (toldAtMs === -Infinity) return undefined;
  return {
    ageMs: Math.max(0, nowMs - toldAtMs),
    endpoints: table.size,
    usable,
    agents,
    models: names.models.slice(0, SUMMARY_NAMES_MAX),
    adapters: names.adapters.slice(0, SUMMARY_NAMES_MAX),
  };
}

function loadOf(facts: PoolFacts, usable: readonly number[]): LoadSignal | undefined {
  const { table, nowMs, outlook } = facts;
  const { columns } = table;
  const present = [...table.slots()];
  const youngestMs = present.reduce(
    (youngest, slot) => Math.max(youngest, columns.sampledAtMs[slot]!),
    -Infinity,
  );
  if (youngestMs === -Infinity) return undefined;
  const of = usable.length > 0 ? usable : present;
  const own = present.map((slot) => table.ownLoad(slot));
  return {
    ageMs: Math.max(0, nowMs - youngestMs),
    saturation: finite(outlook.saturation),
    waitMs: usable.length > 0 ? waitOf(facts, usable) : WAIT_MS_MAX,
    queued: outlook.waiting,
    // The columns count those of the pool's other objects, too.
    inFlightRequests: own.reduce((sum, { requests }) => sum + requests, 0),
    inFlightTokens: own.reduce((sum, { tokens }) => sum + tokens, 0),
    pendingPrefillTokens: of.reduce((sum, slot) => sum + pendingTokens(columns, slot, nowMs), 0),
    queueDepth: mean(of, columns.queueDepth),
    kvUsage: mean(of, columns.kvUsage),
    kvCapacityTokens: total(present, columns.kvCapacityTokens),
  };
}

function waitOf({ table, nowMs, outlook, endedPerSecond }: PoolFacts, usable: readonly number[]) {
  const { columns } = table;
  const prefilling = usable.filter((slot) => hasRole({ pool: table }, slot, "prefill"));
  // Without endpoints for it, those that decode compute prompts as well.
  const computing = prefilling.length > 0 ? prefilling : usable;
  const inEngineMs = computing.reduce((least, slot) => {
    const busyMs = Math.max(0, columns.prefillBusyUntilMs[slot]! - nowMs);
    return Math.min(least, busyMs + memoryWaitMs(columns, slot));
  }, Infinity);
  return Math.min(WAIT_MS_MAX, inQueueMs(outlook, endedPerSecond) + inEngineMs);
}

function inQueueMs({ ahead, isHeld, waitMs }: QueueOutlook, endedPerSecond: number): number {
  if (!isHeld) return 0;
  if (waitMs !== undefined) return waitMs;
  return endedPerSecond > 0 ? (1_000 * (ahead + 1)) / endedPerSecond : WAIT_UNKNOWN_MS;
}

function speedOf({ table, endedPerSecond }: PoolFacts, usable: readonly number[]) {
  const of = usable.length > 0 ? usable : [...table.slots()];
  if (of.length === 0) return undefined;
  const { columns } = table;
  return {
    // Each endpoint has learned it itself, or has what the pool has learned.
    ...(table.hasLearned("prefill")
      ? { prefillMsPerToken: mean(of, columns.prefillMsPerToken) }
      : {}),
    ...(table.hasLearned("service") ? { serviceMs: mean(of, columns.serviceMs) } : {}),
    endedPerSecond,
  } satisfies SpeedSignal;
}

function pendingTokens(columns: EndpointColumns, slot: number, nowMs: number): number {
  const pendingMs = columns.prefillBusyUntilMs[slot]! - nowMs;
  const msPerToken = columns.prefillMsPerToken[slot]!;
  return pendingMs > 0 && msPerToken > 0 ? pendingMs / msPerToken : 0;
}

/** What is no number is full: it must be worse, and JSON has no word for it. */
function finite(saturation: number): number {
  return Number.isFinite(saturation) ? saturation : 1;
}

function total(slots: readonly number[], column: ArrayLike<number>): number {
  return slots.reduce((sum, slot) => sum + column[slot]!, 0);
}

function mean(slots: readonly number[], column: ArrayLike<number>): number {
  return total(slots, column) / slots.length;
}

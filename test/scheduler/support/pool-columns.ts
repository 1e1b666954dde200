// What plugins for pools see, from the few facts a test is about.

import type { SessionAffinity } from "../../../src/scheduler/pools/affinity.ts";
import {
  BREAKER,
  FRESHNESS,
  type PoolColumns,
  type RoutingPolicy,
} from "../../../src/scheduler/pools/pool-columns.ts";
import { hashOfName } from "../../../src/scheduler/pools/rendezvous.ts";

/** A pool; what is left out is at rest, closed and not configured to be anything but plain. */
export interface PoolRow {
  readonly name?: string;
  readonly failoverTier?: number;
  readonly isDrained?: boolean;
  readonly extraMs?: number;
  readonly inputMsPer1kTokens?: number;
  readonly outputMsPer1kTokens?: number;
  readonly breaker?: keyof typeof BREAKER;
  readonly isOverloaded?: boolean;
  readonly rttMs?: number;
  readonly admission?: number;
  readonly usable?: number;
  readonly isEmpty?: boolean;
  readonly isFull?: boolean;
  readonly waitMs?: number;
  readonly creditMs?: number;
  /** What its engines list; undefined where they are not asked. */
  readonly lists?: readonly string[];
}

/** What a row of an endpoint says of the pool that it is. */
export interface RowOfPool {
  readonly pool?: PoolRow;
  readonly ageMs?: number;
  readonly kvUsage?: number;
  readonly kvCapacityTokens?: number;
  readonly prefillMsPerToken?: number;
  readonly serviceMs?: number;
}

export interface PoolColumnsOptions {
  readonly policy?: Partial<RoutingPolicy>;
  readonly session?: SessionAffinity;
  readonly staleAfterMs: number;
}

/** Of a load that is `ageMs` old. */
function freshnessOf(ageMs: number, staleAfterMs: number): number {
  if (ageMs <= staleAfterMs) return FRESHNESS.fresh;
  return ageMs <= 10 * staleAfterMs ? FRESHNESS.stale : FRESHNESS.silent;
}

export function poolColumns(
  rows: readonly RowOfPool[],
  { policy, session, staleAfterMs }: PoolColumnsOptions,
): PoolColumns {
  const pools = rows.map(({ pool = {} }) => pool);
  const flags = (value: (row: PoolRow) => boolean | undefined) =>
    Uint8Array.from(pools, (row) => (value(row) === true ? 1 : 0));
  const numbers = (value: (row: PoolRow) => number | undefined, otherwise = 0) =>
    Float64Array.from(pools, (row) => value(row) ?? otherwise);
  return {
    policy: { sampleSize: 0, staleAfterMs, affinityMs: 25, slowStartMs: 5_000, ...policy },
    session,
    failoverTier: Uint8Array.from(pools, (row) => row.failoverTier ?? 0),
    isDrained: flags((row) => row.isDrained),
    extraMs: numbers((row) => row.extraMs),
    inputMsPer1kTokens: numbers((row) => row.inputMsPer1kTokens),
    outputMsPer1kTokens: numbers((row) => row.outputMsPer1kTokens),
    nameHash: Uint32Array.from(pools, (row, slot) => hashOfName(row.name ?? `pool-${slot}`)),
    breaker: Uint8Array.from(pools, (row) => BREAKER[row.breaker ?? "closed"]),
    isOverloaded: flags((row) => row.isOverloaded),
    freshness: Uint8Array.from(rows, (row) => freshnessOf(row.ageMs ?? 0, staleAfterMs)),
    rttMs: numbers((row) => row.rttMs, 20),
    admission: numbers((row) => row.admission, 1),
    loadAgeMs: Float64Array.from(rows, (row) => row.ageMs ?? 0),
    usable: numbers((row) => row.usable, 8),
    isEmpty: flags((row) => row.isEmpty),
    isFull: flags((row) => row.isFull),
    waitMs: numbers((row) => row.waitMs),
    creditMs: numbers((row) => row.creditMs),
    kvUsage: Float64Array.from(rows, (row) => row.kvUsage ?? 0),
    kvCapacityTokens: Float64Array.from(rows, (row) => row.kvCapacityTokens ?? 0),
    prefillMsPerToken: Float64Array.from(rows, (row) => row.prefillMsPerToken ?? 0.1),
    serviceMs: Float64Array.from(rows, (row) => row.serviceMs ?? 10_000),
    lists: (slot, model) => pools[slot]?.lists?.includes(model),
  };
}

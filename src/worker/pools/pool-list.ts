// All pools as the directory knows them, for an operator. What one isolate has learned of them by itself,
// such as a breaker, is no part of it.

import type { Deployment } from "../../config/deployment.ts";
import type { PoolsRead } from "../../durable/directory/contract.ts";
import type { LocalKnowledge } from "../../scheduler/pools/contracts.ts";
import { type PoolState, stateOf } from "../../scheduler/pools/pool-state.ts";
import { PoolTable } from "../../scheduler/pools/pool-table.ts";
import type { PoolSummary } from "../../scheduler/pools/summary.ts";
import { describePool } from "./describe-pools.ts";
import { KnownPools } from "./known-pools.ts";

/** A pool in the answer of GET /admin/v1/pools. */
export interface ListedPool {
  readonly pool: string;
  readonly region: string;
  readonly jurisdiction?: string;
  readonly models: readonly string[];
  /** As configured: higher ones are used where no lower one can be. */
  readonly failoverTier: number;
  readonly drained: boolean;
  /** Objects that share its requests, as configured. */
  readonly shards: number;
  /** What speaks the most against it; `fresh`: nothing. */
  readonly state: PoolState;
  /** Since its last summary; null before the first. Signals in `summary` have ages of their own then. */
  readonly ageMs: number | null;
  readonly summary: PoolSummary | null;
}

/** In the order of the configuration. */
export function listPools(deployment: Deployment, read: PoolsRead, nowMs: number): ListedPool[] {
  const { pools, routing } = deployment;
  const known = new KnownPools();
  const names = pools.map(({ name }) => name);
  known.configure(names);
  known.update(read, nowMs);
  const table = new PoolTable(routing);
  table.set(
    pools.map((pool) => describePool(pool, routing)),
    routing,
  );
  known.applyTo(table, 0);
  table.allow(names, { local: NOTHING_OF_ITS_OWN, nowMs, renamed: undefined });
  return pools.map(({ name, region, jurisdiction, models, failoverTier, shards }) => {
    const slot = table.slotOf(name)!;
    const heard = known.summaryOf(name);
    return {
      pool: name,
      region,
      ...(jurisdiction === undefined ? {} : { jurisdiction }),
      models,
      failoverTier,
      drained: read.drained.includes(name),
      shards,
      state: stateOf(table.pools, slot),
      ageMs: heard === undefined ? null : nowMs - heard.sentAtMs,
      summary: heard?.summary ?? null,
    };
  });
}

const NOTHING_OF_ITS_OWN: LocalKnowledge = {
  breaker: () => "closed",
  rttMs: () => undefined,
};

// The contract of a choice among pools, ours and everyone else's. Each isolate has one of its own.

import type { CacheDigest } from "../../../src/scheduler/kv/digest/cache-digest.ts";
import type { BreakerOutcome } from "../../../src/scheduler/pools/breaker.ts";
import type { HeardSummary } from "../../../src/scheduler/pools/contracts.ts";
import type { RoutedRequest } from "../policy.ts";
import type { Rng } from "../../../src/scheduler/support/rng.ts";
import type { PoolSite } from "./pool-site.ts";

/** What an isolate has read of a pool. */
export interface HeardPool {
  readonly heard: HeardSummary;
  readonly digest: CacheDigest | undefined;
}

export interface PoolChoice {
  /** Pools to try, best first; the next is tried where one refuses. */
  choose(request: RoutedRequest, nowMs: number): readonly number[];
  /** The directory was read: by pool, undefined for one that nothing was heard of yet. */
  read?(pools: readonly (HeardPool | undefined)[], nowMs: number): void;
  /** A request is about to be sent to a pool. False: not there, while others are left. */
  trying?(request: RoutedRequest, pool: number, nowMs: number): boolean;
  /** What became of a request at a pool that it was sent to. */
  ended?(request: RoutedRequest, pool: number, how: Ended): void;
}

export interface Ended {
  readonly outcome: BreakerOutcome;
  readonly nowMs: number;
}

export interface PoolChoiceContext {
  /** Where the isolate is. */
  readonly region: number;
  /** As measured from here. */
  readonly rttMs: readonly number[];
  /** A summary of this age is stale. */
  readonly staleAfterMs: number;
  readonly rng: Rng;
  /** Pool by session, for whom clients bring that back: all isolates share it. */
  readonly homes: Map<number, number>;
  /** The pools themselves. Only an oracle may look. */
  readonly sites: readonly PoolSite[];
}

export interface PoolChoiceDefinition {
  readonly name: string;
  /** In one sentence, with its source. */
  readonly about: string;
  /** Reads digests: making them takes as long as all else. */
  readonly readsDigests?: boolean;
  /** Inside the pool the engines' true state is known; see policies/oracle.ts. */
  readonly isOracleInside?: boolean;
  create(context: PoolChoiceContext): PoolChoice;
}

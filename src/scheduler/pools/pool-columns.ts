// What plugins of the choice among pools see besides EndpointColumns: one typed array a fact, one slot a
// pool. A PoolTable owns it.

import type { SessionAffinity } from "./affinity.ts";

/** How the deployment wants requests spread; see config/routing.ts. Plugins may override it by parameters. */
export interface RoutingPolicy {
  /** Pools drawn for one request; 0: all. */
  readonly sampleSize: number;
  readonly staleAfterMs: number;
  readonly affinityMs: number;
  readonly slowStartMs: number;
}

/** How a breaker stands, as a number: rising with what speaks against the pool. */
export const BREAKER = { closed: 0, halfOpen: 1, open: 2 } as const;

/** How young what is known is. */
export const FRESHNESS = { fresh: 0, stale: 1, silent: 2 } as const;

/** Index `slot` is one pool in every column. */
export interface PoolColumns {
  readonly policy: RoutingPolicy;
  /** What the request brings besides InferenceRequest. */
  readonly session: SessionAffinity | undefined;

  // As configured.
  readonly failoverTier: Uint8Array;
  readonly isDrained: Uint8Array;
  readonly extraMs: Float64Array;
  readonly inputMsPer1kTokens: Float64Array;
  readonly outputMsPer1kTokens: Float64Array;
  /** Of the pool's name, the same in every isolate. */
  readonly nameHash: Uint32Array;

  // As it stands with this isolate at `nowMs`.
  /** One of BREAKER. */
  readonly breaker: Uint8Array;
  /** 1: it has just said that it is overloaded. */
  readonly isOverloaded: Uint8Array;
  /** One of FRESHNESS. */
  readonly freshness: Uint8Array;
  /** Measured, else configured. */
  readonly rttMs: Float64Array;
  /** Its share of what it would otherwise be sent: below 1 after it came (back). */
  readonly admission: Float64Array;

  // As the pool says, and what this isolate has sent since.
  /** Age of its load when all pools were last read of; see PoolTable. Infinity before it told any. */
  readonly loadAgeMs: Float64Array;
  /** Endpoints that a request can be sent to; those there are while it is not told; at least 1. */
  readonly usable: Float64Array;
  /** 1: it says that it has no endpoint that a request could be sent to. */
  readonly isEmpty: Uint8Array;
  /** 1: full, until it is clearly not any more. */
  readonly isFull: Uint8Array;
  readonly waitMs: Float64Array;
  /** What is believed to have been added to it since by all who send there; less than 0: taken off. */
  readonly creditMs: Float64Array;
  readonly kvUsage: Float64Array;
  /** Tokens of KV cache, over all endpoints; 0 unknown. */
  readonly kvCapacityTokens: Float64Array;
  /** Of one endpoint; where a pool has not told it, as the slowest that has. */
  readonly prefillMsPerToken: Float64Array;
  readonly serviceMs: Float64Array;
  /** Whether its engines list the model or adapter; undefined where they are not asked. */
  lists(slot: number, model: string): boolean | undefined;
}

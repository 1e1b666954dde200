// Contracts of the choice among pools: the same Filter → Score → Pick framework as inside a pool, over a
// table whose slots are pools.

import type { PickedHeader } from "../endpoint-picker.ts";
import type { SessionAffinity } from "./affinity.ts";
import type { PoolSummary } from "./summary.ts";

/** A pool as it is configured. */
export interface PoolDescription {
  readonly name: string;
  readonly region: string;
  /** Lower ones are tried first; a higher one only where no usable pool of a lower one is left. */
  readonly failoverTier: number;
  /** The operator's word: no new requests. */
  readonly isDrained: boolean;
  /** Until it is measured. */
  readonly rttMs: number;
  /** Added to every request's cost, such as egress; by policy. */
  readonly extraMs: number;
  /** Prices as milliseconds, by policy: of a thousand prompt tokens and of a thousand output tokens. */
  readonly inputMsPer1kTokens: number;
  readonly outputMsPer1kTokens: number;
  /** For filters and scorers that go by labels. */
  readonly labels: Readonly<Record<string, string>>;
}

/** What a request brings to the choice. */
export interface PoolChoiceRequest {
  readonly requestId: string;
  readonly tenant: string;
  readonly model: string;
  /** Content keys, as in InferenceRequest. */
  readonly keys: Uint32Array;
  readonly promptTokens: number;
  readonly outputTokensMax: number | null;
  /** What the client says belongs together; see affinity.ts. */
  readonly session: SessionAffinity | undefined;
  /** By pool, where engines know the model by another name: what they call it, and the keys under that name. */
  readonly renamed?: ReadonlyMap<string, RenamedModel>;
  /** Those that the scheduler's plugins name (PoolChooser.requestHeaders), by lower-case name. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RenamedModel {
  readonly model: string;
  readonly keys: Uint32Array;
}

/** How a pool stands with this isolate; see breaker.ts. */
export type BreakerState = "closed" | "open" | "half-open";

/** What this isolate knows besides summaries. */
export interface LocalKnowledge {
  /** Of this isolate's requests to the pool. */
  breaker(pool: string, nowMs: number): BreakerState;
  /** Measured from here; undefined before the first measurement. */
  rttMs(pool: string, nowMs: number): number | undefined;
  /** It has endpoints again, by its own word: a breaker need not wait any longer to ask it. */
  saidWell?(pool: string, nowMs: number): void;
  /** Whether it has just answered that it is overloaded; see breakers.ts. */
  isOverloaded?(pool: string, nowMs: number): boolean;
}

/** Pools that a choice tells of. */
export const CHOICE_CANDIDATES_MAX = 8;

/** What the choice was made of: one of the pools that came into question. */
export interface PoolCandidate {
  readonly pool: string;
  /** 0 is the best; pools of a worse tier are tried after all of a better one. */
  readonly tier: number;
  /** Why it is in that tier, or out: `fresh`, `stale`, `silent`, `open`, `drained`, `full`, `filtered`, … */
  readonly state: string;
  /**
   * Its parts in milliseconds, by name: `rttMs`, `waitMs`, `prefillMs`, `priceMs`, … Of scorers that tell no
   * parts, `score` alone, and `costMs` is 0; of a pool that was left out, nothing.
   */
  readonly terms: Readonly<Record<string, number>>;
  readonly costMs: number;
  /** Prompt tokens that it would have to compute: what PoolTable.dispatched is told. */
  readonly uncachedTokens?: number;
}

/** Pools in the order to try them, and what they were chosen by. */
export interface PoolChoice {
  readonly order: readonly string[];
  readonly candidates: readonly PoolCandidate[];
  /** Headers for the client's answer; values are parallel to `order`. Absent where no plugin sets one. */
  readonly responseHeaders?: readonly PickedHeader[];
}

/** A summary as an isolate holds it. */
export interface HeardSummary {
  readonly summary: PoolSummary;
  /** By the isolate's clock: when it would have left the pool's object. */
  readonly sentAtMs: number;
}

// What a pool's object shows of itself to operators. As contract.ts: plain values, safe across versions N
// and N-1; fields are only ever added, as optional ones.

import type { ClusterResourceKind } from "../config/deployment.ts";
import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import type { BareAttempt, Explanation } from "../scheduler/decisions/document.ts";
import type { FlowControlSnapshot } from "../scheduler/flow-control/snapshot.ts";

/** A resource of a cluster that is not in force. */
export interface IgnoredResource {
  readonly name: string;
  /** A sentence for people. */
  readonly why: string;
}

/** By their names, as the pool's object knows them. */
export interface ClusterResourcesState {
  readonly objectives: readonly string[];
  readonly rewrites: readonly string[];
  readonly mistaken: Readonly<Record<ClusterResourceKind, readonly IgnoredResource[]>>;
}

/** How an endpoint's last scrape went, as its collector said; `none` before the first. */
export type ScrapeOutcome = "none" | "ok" | "unreachable" | "malformed";

/** One endpoint as the pool's object sees it. Loads include open tickets since the last sample. */
export interface EndpointState {
  readonly id: string;
  readonly address: string;
  readonly engine: string;
  /** null before the first good sample. */
  readonly sampleAgeMs: number | null;
  readonly isFresh: boolean;
  /** How long decisions still avoid it because a relay could not reach it; 0 if they do not. */
  readonly ejectedMs?: number;
  readonly scrape: ScrapeOutcome;
  readonly queueDepth: number;
  readonly runningRequests: number;
  readonly kvUsage: number;
  readonly kvCapacityTokens: number;
  readonly inFlightRequests: number;
  readonly inFlightTokens: number;
  /** LoRA adapters: how many are active and waiting, and how many can be active; 0 unknown. */
  readonly lora?: { readonly active: number; readonly waiting: number; readonly max: number };
  /** What the engine lists as its models, where it is asked. */
  readonly models?: readonly string[];
  /**
   * How well is known what its KV cache holds, where collectors tell: all of it; less, or as it was a
   * moment ago; or nothing.
   */
  readonly knowledge?: Knowledge;
  /** Content blocks that it is known to hold. */
  readonly knownBlocks?: number;
  /** How what was predicted to be cached there compares with what it reported; absent before the first. */
  readonly cacheAccuracy?: CacheAccuracy;
}

/** `demoted`: told, and not believed for a while, because it stayed wrong. */
export type Knowledge = "exact" | "partial" | "demoted" | "none";

/** Of the latest requests that were decided by exact knowledge; see docs/architecture.md. */
export interface CacheAccuracy {
  readonly compared: number;
  /** Of them, those predicted within one content block. */
  readonly withinBlock: number;
  /** Predicted less reported tokens. */
  readonly meanErrorTokens: number;
}

/** What collectors have told of KV caches, of all endpoints. */
export interface ResidencyState {
  /** Distinct content blocks. */
  readonly blocks: number;
  /** (block, endpoint) pairs. */
  readonly pairs: number;
  readonly bytes: number;
  /** Pairs shed or not taken up for the bytes, since the object began. */
  readonly shed: number;
  /** Models whose prompts are not looked up in it for a while, because that stayed wrong at all endpoints. */
  readonly demotedModels?: number;
}

export interface AgentState {
  readonly agent: string;
  readonly role: "collector" | "relay";
  readonly connectedAtMs: number;
}

/** A pool's object at one moment. Holds no secret and nothing of any request. */
export interface PoolState {
  readonly pool: string;
  /** False: the object refuses every pick until the directory configures it. */
  readonly isConfigured: boolean;
  readonly configVersion: number;
  readonly objectEpoch: string;
  readonly staleAfterMs: number;
  /** At most PROTOCOL_LIMITS.endpointsMax. */
  readonly endpoints: readonly EndpointState[];
  readonly agents: readonly AgentState[];
  readonly tickets: { readonly open: number; readonly unsettled: number };
  /** Absent without a shadow configuration. */
  readonly shadow?: ShadowState;
  /** Absent while no collector tells what endpoints hold. */
  readonly residency?: ResidencyState;
  /** Absent while no collector has told of its cluster's objectives and rewrites. */
  readonly clusterResources?: ClusterResourcesState;
}

/** What waits in a pool at one moment. */
export interface QueueState extends FlowControlSnapshot {
  /** Of those that wait, how many do as open calls, and how many hold a numbered place. */
  readonly openWaits: number;
  readonly places: number;
  /** Endpoints that count as full because nobody has heard of them lately. */
  readonly staleEndpoints: number;
  /** The saturation detector, by its name in the configuration. */
  readonly detector?: string;
  /** `saturation` is the greater one; a stage that no endpoint does is absent. */
  readonly stages?: { readonly prefill?: number; readonly decode?: number };
}

/** How a shadow configuration compares, since it or the object began. */
export interface ShadowState {
  /** False once it has failed; `failure` says how. */
  readonly isRunning: boolean;
  readonly failure?: string;
  readonly decisions: number;
  /** Decisions with the same first choices, or refused by both. */
  readonly same: number;
  readonly onlyShadowRefused: number;
  readonly onlyShadowAccepted: number;
  /** Decisions that the next two are of. */
  readonly compared: number;
  readonly hitTokens: { readonly real: number; readonly shadow: number };
  /** null before the first decision. */
  readonly meanPredictedTtftMs: { readonly real: number | null; readonly shadow: number | null };
}

/** Why a request went where it went, as far as the object still knows. */
export interface PoolExplanation {
  readonly isConfigured: boolean;
  /** A change means that records from before it are gone. */
  readonly objectEpoch: string;
  /** null: no record of the request is kept. */
  readonly explanation: Explanation | null;
}

/** Which recorded decisions to show. */
export interface DecisionQuery {
  /** Not those that are older. */
  readonly agoMs: number;
  readonly limit: number;
  /** `next` of an earlier page. */
  readonly before?: number;
}

/**
 * Decisions on record, newest first: by the moment at which the object knew of them. Those of isolates that sent no
 * record have no candidates.
 */
export interface DecisionPage {
  readonly pool: string;
  readonly isConfigured: boolean;
  /** A change means that `before` of earlier pages means nothing any more. */
  readonly objectEpoch: string;
  /** How far back the object's own records reach; null without any. */
  readonly oldestAtMs: number | null;
  /** The same of what isolates have decided. Absent from an object of the version before. */
  readonly oldestLocalAtMs?: number | null;
  /** `before` of the next page; null after the last. */
  readonly next: number | null;
  readonly schedulers: readonly SchedulerConfig[];
  /** `scheduler` is an index in `schedulers`: where there are no candidates, what was in force. */
  readonly decisions: readonly {
    readonly requestId: string;
    /** `before` of a page that goes on behind it. Absent from an object of the version before. */
    readonly number?: number;
    readonly attempt: BareAttempt & { readonly scheduler: number };
  }[];
}

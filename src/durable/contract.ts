// The RPC between the Worker and the objects: plain values, safe across versions N and N-1.
// Fields are only ever added, as optional ones; a field is never renamed or given a new meaning.

import type {
  ClusterResourceKind,
  ConfigIssue,
  Deployment,
  ObjectiveConfig,
} from "../config/deployment.ts";
import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import type { Explanation, WrittenAttempt } from "../scheduler/decisions/document.ts";
import type { FlowControlSnapshot } from "../scheduler/flow-control/snapshot.ts";
import type { DropReason } from "../scheduler/outcome.ts";
import type { InferenceRequest } from "../scheduler/model/inference-request.ts";
import type { PoolSummary } from "../scheduler/pools/summary.ts";
import type { ModelRewriteConfig } from "../scheduler/rewrite/config.ts";
import type { PoolUpstream } from "./upstreams/pool-upstream.ts";

/** A request for endpoints. Idempotent by (request.requestId, attempt). */
export interface PickRequest {
  readonly request: InferenceRequest;
  readonly attempt: number;
  /** Endpoint addresses that already failed for this request. */
  readonly exclude: readonly string[];
  /** The caller's snapshot of the pool is old, or it has none. */
  readonly wantsSnapshot?: boolean;
  /**
   * Who waits, and for how long, where the pool is full. Absent from a Worker of a version that
   * cannot wait: it is refused instead.
   */
  readonly flow?: PickFlow;
  /**
   * Among which pools this one was chosen, best first, at most CHOICE_CANDIDATES_MAX: as encodeChoice in
   * decisions/pool-choices.ts writes it, for `explain`. A text, for most are never read.
   */
  readonly choice?: string;
}

/** A request's place among those that wait; see flow-control/contracts.ts. */
export interface PickFlow {
  readonly fairnessId: string;
  /** Over 0. */
  readonly weight: number;
  /** Unix ms at which the Worker had all of its body: the same at each call for the request. */
  readonly receivedAtMs: number;
  /** The longest wait its client wants. */
  readonly ttlMs?: number;
  /** Whether it also waits in a pool without endpoints: not while another pool may have some. */
  readonly waitsForEndpoints: boolean;
}

/** Endpoints that may be picked and their loads at one moment: enough to do without the object for a while. */
export interface PoolSnapshot {
  /** At most SNAPSHOT_ENDPOINTS_MAX. */
  readonly addresses: readonly string[];
  /** Requests running, waiting and under way, per address. */
  readonly loads: readonly number[];
  /** What the pool says of itself, for the choice among pools. */
  readonly summary?: PoolSummary;
}

export interface PickGrant {
  readonly ok: true;
  /** Names the claim on capacity; travels to the relay, which reports its end. */
  readonly ticket: string;
  /** Addresses in the order to try them. */
  readonly endpoints: readonly string[];
  /**
   * Who else has a part in it: a value for each of the protocol's STAGE_HEADERS, in their order, "" for
   * one that is not sent. Absent where nobody has.
   */
  readonly stages?: readonly string[];
  /** Random at each construction of the object. */
  readonly objectEpoch: string;
  readonly snapshot?: PoolSnapshot;
  /** Headers for the client, which plugins of the pool set. The Worker heeds the first eight. */
  readonly responseHeaders?: readonly GrantHeader[];
  /** Relays are to learn what the prompt's content becomes: see x-fairlead-content. */
  readonly wantsContent?: true;
  /** The request waited with a part of its keys: the Worker gives all of them by `learn`. */
  readonly wantsKeys?: true;
}

export interface GrantHeader {
  /** Lower case. */
  readonly name: string;
  /** One for each of the grant's endpoints: the client gets that of the one which served. */
  readonly values: readonly string[];
}

export interface PickRefusal {
  readonly ok: false;
  readonly reason: DropReason;
  readonly detail: string;
  readonly retryAfterMs: number;
}

export type PickResult = PickGrant | PickRefusal;

/** The request waits in the object's queue. Its Worker waits with it, by `handle`, or asks again. */
interface Queued {
  readonly ok: "queued";
  /**
   * The pool has no endpoints, and this Worker is the one that asks for some: see `capacityWebhook`.
   * No other is told for CAPACITY_ASK_MS.
   */
  readonly asksForCapacity?: true;
}

/** Disposing it, as the end of the Worker's context does, takes the request out of the queue. */
export interface HeldWait extends Queued, Disposable {
  readonly handle: WaitPort;
}

/**
 * A numbered place: too many wait as open calls. The Worker makes the same pick again after
 * `askAgainMs`; a place that nobody asks for is given up some seconds after that.
 */
export interface NumberedPlace extends Queued {
  readonly askAgainMs: number;
  /** Requests that are likely to be served before. */
  readonly ahead: number;
}

/** The Worker's end of a WaitHandle. */
export interface WaitPort {
  /**
   * The grant when it is the request's turn, or why there is none. After about WAIT_CALL_MS, or when
   * the call is needed for a request that is served sooner, a numbered place.
   */
  wait(): Promise<HeldGrant | PickRefusal | NumberedPlace>;
}

/**
 * A grant as the Worker receives it. Disposing it disposes the handle, as does the end of the
 * Worker's context: the object then releases what no relay has taken over.
 */
export interface HeldGrant extends PickGrant, Disposable {
  readonly handle: GrantHandle;
}

/** The Worker's end of a PickHandle. */
export interface GrantHandle {
  /** Gives the grant back, because it will not be used. */
  release(how: WorkerRelease): Promise<void>;
  /** All content keys of the prompt, where the grant wants them. */
  learn(keys: Uint32Array): Promise<void>;
  /** How the answer ended that the Worker itself has carried: of upstreams, which no relay reports. */
  settle(end: WorkerEnd): Promise<void>;
}

/** A request's end in the Worker's words. */
export interface WorkerEnd {
  /** What the upstream answered. */
  readonly status: number;
  /** Whether the client got all of it. */
  readonly outcome: "completed" | "cancelled" | "failed";
  /** From sending the request to the answer's first byte; null if there was none. */
  readonly ttftMs: number | null;
  readonly durationMs: number;
  /** As the upstream counted; absent where it did not say, and the usage will be estimated. */
  readonly usage?: {
    readonly promptTokens: number;
    readonly cachedTokens: number | null;
    readonly completionTokens: number;
  };
}

/** What a Worker asks of a pool's object on a request's way. */
export interface PoolPort {
  pick(request: PickRequest): Promise<HeldGrant | PickRefusal | HeldWait | NumberedPlace>;
  /**
   * The client of a waiting request has left: at once, also while a call of `wait` is open, which keeps
   * its handle alive. Of a request that does not wait it changes nothing.
   */
  leave(requestId: string, attempt: number): Promise<void>;
}

/**
 * How a ticket's load left the ledger, when the Worker says so itself. `refused`: by an upstream that
 * answered, and would not serve it.
 */
export type WorkerRelease =
  | "cancelled"
  | "relay-unreachable"
  | "unmetered"
  | "refused"
  /** Another attempt has answered first: nobody pays for this one. */
  | "hedge-lost";

/**
 * What a pool's object needs of the configuration. It holds no relay, and of secrets only the tokens with
 * which it reads upstreams' metrics.
 */
export interface PoolObjectConfig {
  readonly name: string;
  readonly scrapeIntervalMs: number;
  readonly scheduler: SchedulerConfig;
  /** Looks at every decision, and takes none. */
  readonly shadowScheduler?: SchedulerConfig;
  /** Priorities of the pool's objectives: each has a band, also while nothing waits in it. */
  readonly objectivePriorities?: readonly number[];
  /** What its cluster may add to the configuration. Absent, of a directory of before: objectives. */
  readonly clusterResources?: readonly ClusterResourceKind[];
  /** Its endpoints, in a pool without relays. */
  readonly upstreams?: readonly PoolUpstream[];
}

/** Current configuration, secrets included: for the Worker only, never for an answer. */
export type DirectoryRead =
  | {
      readonly version: number;
      readonly deployment: Deployment;
      /** Pools whose stored scheduling cannot be read, or a part of it; `deployment` has the default for it. */
      readonly repaired?: readonly string[];
      /** Where the caller said what it knows of pools. */
      readonly pools?: PoolsRead;
    }
  | { readonly version: number; readonly unchanged: true; readonly pools?: PoolsRead };

/** What an isolate knows of pools: it is told what is newer. */
export interface PoolsKnown {
  /** `epoch` and `revision` of the last PoolsRead; "" and 0 before the first. */
  readonly epoch: string;
  readonly revision: number;
  /**
   * Pools whose digests it wants, and the versions it has ("": none), at most DIGESTS_WANTED_MAX. They are
   * served in this order: those that it has waited for longest come first.
   */
  readonly digests: readonly { readonly pool: string; readonly known: string }[];
  /** `revision` of the last PoolsRead.resources; 0 before. Absent: it does not want any. */
  readonly resources?: number;
}
export const DIGESTS_WANTED_MAX = 64;

/** What pools have said of themselves since `PoolsKnown.revision`. */
export interface PoolsRead {
  /** Of the directory's object: what it knew before is gone. */
  readonly epoch: string;
  /** Rises with every summary. */
  readonly revision: number;
  /**
   * `json`: a PoolSummary, written once for all isolates that read it. `ageMs`: since it left the pool's
   * object, as far as the directory knows.
   */
  readonly summaries: readonly { readonly json: string; readonly ageMs: number }[];
  /** Of those wanted, the ones that are newer, as many as fit in DIGEST_READ_BYTES_MAX. */
  readonly digests: readonly PoolDigest[];
  /** Pools that an operator has drained, all of them. */
  readonly drained: readonly string[];
  /** `json`: PoolResources, of pools whose are newer; more of them may come with the next read. */
  readonly resources?: {
    readonly revision: number;
    readonly pools: readonly { readonly json: string }[];
  };
}
export const DIGEST_READ_BYTES_MAX = 1024 * 1024;

/** What a pool's caches hold; see kv/digest. */
export interface PoolDigest {
  readonly pool: string;
  /** Incarnation and number: equal where the content is. */
  readonly version: string;
  readonly ageMs: number;
  readonly bytes: Uint8Array;
}

/** The directory's answer to a pool that has told it something. */
export interface PoolReported {
  /** It has no digest of the pool, or an older one. */
  readonly wantsDigest: boolean;
  /**
   * False: no isolate has asked for the pool's digest lately, and none need be made. Absent from a directory of the
   * version before.
   */
  readonly usesDigest?: boolean;
  /** False: no such pool is configured, and what it says is not kept. */
  readonly isKnown: boolean;
  /** With many pools: how long to wait before the next summary at least. */
  readonly pauseMs?: number;
}

/** What a pool's cluster says of InferenceObjectives and InferenceModelRewrites, checked by its object. */
export interface PoolResources {
  readonly pool: string;
  /** Rises with every change; about the Unix ms of the last one. */
  readonly version: number;
  readonly objectives: readonly ObjectiveConfig[];
  readonly rewrites: readonly ModelRewriteConfig[];
}

/** The directory's answer to a pool that has told what its cluster says. */
export interface ResourcesReported {
  /** False: no such pool is configured, and what it says is not kept. */
  readonly isKnown: boolean;
}

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

export type DirectoryPut =
  | {
      readonly ok: true;
      readonly version: number;
      /** Pools whose object could not be told yet; the directory keeps trying. */
      readonly pending: readonly string[];
      /** What whoever put it should know, though it is in force. */
      readonly notes?: readonly string[];
    }
  | {
      readonly ok: false;
      /** `conflict`: the stored version is not the expected one. */
      readonly reason: "conflict" | "invalid" | "too-large";
      readonly issues: readonly ConfigIssue[];
    };

/** The answer to an operator who drains a pool, or has it take requests again. */
export type PoolDrained =
  | {
      readonly ok: true;
      readonly pool: string;
      readonly drained: boolean;
      /** False: it was so before. */
      readonly changed: boolean;
      /** What the operator should know, though it is done. */
      readonly notes: readonly string[];
    }
  | {
      /** There is no such pool. */
      readonly ok: false;
      readonly pools: readonly string[];
    };

/** A stored version of the configuration. */
export interface DirectoryVersion {
  readonly version: number;
  readonly appliedAtMs: number;
  readonly bytes: number;
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

/** Recorded decisions, newest first. */
export interface DecisionPage {
  readonly pool: string;
  readonly isConfigured: boolean;
  /** A change means that `before` of earlier pages means nothing any more. */
  readonly objectEpoch: string;
  /** How far back records reach; null without any. */
  readonly oldestAtMs: number | null;
  /** `before` of the next page; null after the last. */
  readonly next: number | null;
  readonly schedulers: readonly SchedulerConfig[];
  /** `scheduler` is an index in `schedulers`. */
  readonly decisions: readonly {
    readonly requestId: string;
    readonly attempt: Omit<WrittenAttempt, "scheduler"> & { readonly scheduler: number };
  }[];
}

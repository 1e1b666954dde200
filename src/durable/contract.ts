// The RPC between the Worker and the objects: plain values, safe across versions N and N-1.
// Fields are only ever added, as optional ones; a field is never renamed or given a new meaning.

import type { ClusterResourceKind } from "../config/deployment.ts";
import type { Jurisdiction } from "../config/pool-address.ts";
import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import type { CreditAsk, CreditGrant } from "../scheduler/credits/contracts.ts";
import type {
  EdgeKnown,
  EdgeSnapshot,
  LocalCommit,
  LocalEnd,
} from "../scheduler/edge/contracts.ts";
import type { LocalRecord } from "../scheduler/decisions/packed-record.ts";
import type { DropReason } from "../scheduler/outcome.ts";
import type { InferenceRequest } from "../scheduler/model/inference-request.ts";
import type { ShardMap } from "../scheduler/shards/contracts.ts";
import type { PoolUpstream } from "./upstreams/pool-upstream.ts";

/** A request for endpoints. Idempotent by (request.requestId, attempt). */
export interface PickRequest {
  readonly request: InferenceRequest;
  readonly attempt: number;
  /** Endpoint addresses that already failed for this request. */
  readonly exclude: readonly string[];
  /**
   * The address where the isolate would have sent it, and counts it: taken where nothing speaks for another; see
   * scheduler/edge/proposed-endpoint.ts.
   */
  readonly proposed?: string;
  /**
   * It is on its way already, as the isolate has decided: this attempt is one that will be made if the object would have it
   * elsewhere. Nobody waits: it was paid with credit. An object of the release before grants what nobody uses.
   */
  readonly sent?: LocalCommit;
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
  /** Why the object is asked, as encodeTerms in decisions/decided-where.ts writes it, for `explain`. */
  readonly terms?: string;
  /**
   * What the isolate has of the pool: the answer brings it up to date. Absent: it wants nothing. A Worker of
   * the release before says `wantsSnapshot` instead: it gets none, and does without where the object is away.
   */
  readonly edge?: EdgeKnown;
  /** For requests that the isolate decides on alone: a token each. */
  readonly credit?: CreditAsk;
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
  /** Headers for the client, which plugins of the pool set. The Worker heeds the first eight. */
  readonly responseHeaders?: readonly GrantHeader[];
  /** Relays are to learn what the prompt's content becomes: see x-fairlead-content. */
  readonly wantsContent?: true;
  /** The request waited with a part of its keys: the Worker gives all of them by `learn`. */
  readonly wantsKeys?: true;
  /** In place of what was `sent`: the object takes that for called off. */
  readonly callsOff?: true;
  readonly edge?: EdgeSnapshot;
  readonly credit?: CreditGrant;
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

/** What was `sent` stays where it is, and is committed. */
export interface KeptPick {
  readonly ok: "kept";
  readonly edge?: EdgeSnapshot;
  readonly credit?: CreditGrant;
}

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

/**
 * This object takes no new requests of the pool: its number is not below the count of shards any more. The
 * Worker asks the one that `shards` names.
 */
export interface MovedPick {
  readonly ok: "moved";
  readonly shards: ShardMap;
}

/** What an isolate tells the object of what it has decided alone, and what it asks for with that. */
export interface EdgeSync {
  readonly known: EdgeKnown;
  readonly credit?: CreditAsk;
  /** At most EDGE_BATCH_MAX, each. */
  readonly commits: readonly LocalCommit[];
  readonly ends: readonly LocalEnd[];
  /** Of some of the decisions that it has told of, or tells of here: RECORDS_A_SYNC_MAX at most. */
  readonly records?: readonly LocalRecord[];
}

export interface EdgeSynced {
  /** Absent for a pool that is not configured. */
  readonly snapshot?: EdgeSnapshot;
  readonly credit?: CreditGrant;
}

/** What an isolate that decides alone asks of a pool's object, off its requests' way. */
export interface EdgePort {
  /** An object of the version before has no such word, and then the call rejects. */
  sync(sync: EdgeSync): Promise<EdgeSynced>;
}

/** What a Worker asks of a pool's object on a request's way. */
export interface PoolPort {
  pick(
    request: PickRequest,
  ): Promise<HeldGrant | PickRefusal | HeldWait | NumberedPlace | MovedPick | KeptPick>;
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
  /** Which of the pool's objects this one is, of how many. Absent: the only one. */
  readonly shard?: {
    readonly index: number;
    readonly count: number;
    /** Of all of them, where it is kept. */
    readonly jurisdiction?: Jurisdiction;
  };
}

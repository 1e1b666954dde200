// What an isolate needs to decide alone as the pool's object would, and what it tells the object afterwards.
//
//   object ── EdgeSnapshot: endpoints, loads with their ages, digest, credit ──▶ isolate's replica
//   isolate ── LocalCommit, LocalEnd: what it has decided, in batches ─────────▶ object
//
// Snapshots come with every answer that an isolate asks for one with: whole ones, or what has changed since
// the version it has. Ages are told as of the moment of sending; clocks are not compared.
//
// A commit that is lost changes no count for good: the relay's reports name the ticket, and the object puts
// it back by them, as it does after a restart.

import type { PoolSummary } from "../pools/summary.ts";
import type { ShardMap } from "../shards/contracts.ts";

/** Endpoints in one snapshot; of a larger pool it holds a sample, which differs from isolate to isolate. */
export const EDGE_ENDPOINTS_MAX = 256;
/** Commits, and ends, in one call. */
export const EDGE_BATCH_MAX = 256;

/** What an isolate has of a pool's object. */
export interface EdgeKnown {
  /** Of the object; "" before the first snapshot. */
  readonly epoch: string;
  readonly version: number;
  /** Version of the digest; "": none. Absent: it wants none. */
  readonly digest?: string;
  /** Random, of the isolate: which endpoints of a larger pool are in its sample. The same all its life. */
  readonly seed?: number;
}

export interface EdgeSnapshot {
  /** Random at each construction of the object. */
  readonly epoch: string;
  /** Rises with every snapshot that the object has made. */
  readonly version: number;
  /** The version that this one is to be applied to; null for a whole one. */
  readonly base: number | null;
  readonly configVersion: number;
  /** Of what the object schedules by; see config/scheduler-hash.ts. Absent: of a release before. */
  readonly schedulerHash?: string;
  readonly staleAfterMs: number;
  /** Those that are new, or whose address, engine or labels have changed. */
  readonly endpoints: readonly EdgeEndpoint[];
  /** Slots that are free. */
  readonly removed: readonly number[];
  /** Columns of the slots that have changed, as edge/rows.ts packs them; moments in ms before the sending. */
  readonly rows: Uint8Array;
  /** Names that the rows use: of adapters, and keys of scalars. */
  readonly names?: readonly string[];
  /** Endpoints of the pool that the snapshot leaves out, for their number. */
  readonly leftOut: number;
  /** As the pool's detector says: 1 is full. */
  readonly saturation: number;
  /** Requests that wait in the object. */
  readonly waiting: number;
  /** A request of the default priority that comes now would wait, or be refused. */
  readonly isHeld: boolean;
  /** What is sent to all of the pool's endpoints in the mean. Absent: too little to tell. */
  readonly rate?: DispatchRate;
  /** The isolate's own part of the endpoints; see lanes.ts. Absent: it has none. */
  readonly lane?: EdgeLane;
  readonly digest?: EdgeDigest;
  readonly shards?: ShardMap;
  /** Relays are to learn what prompts' content becomes: see PickGrant in durable/contract.ts. */
  readonly wantsContent?: boolean;
  /** What the pool says of itself, for the choice among pools. */
  readonly summary?: PoolSummary;
}

/** Every `count`-th of the endpoints, from the one at `index` on, by their slots' order. */
export interface EdgeLane {
  readonly index: number;
  readonly count: number;
}

/** Who decides alone reckons with what others send meanwhile. */
export interface DispatchRate {
  readonly requestsPerS: number;
  /** Of one request, in the mean: prompt tokens, those that are not cached, and what it adds to KV memory. */
  readonly promptTokens: number;
  readonly uncachedTokens: number;
  readonly kvTokens: number;
  /**
   * The same of the request that an uncached token is of, in the mean over tokens: what whoever comes to a busy
   * engine finds at work there. Absent: as large as the mean request.
   */
  readonly aheadTokens?: number;
}

export interface EdgeEndpoint {
  readonly slot: number;
  readonly id: string;
  readonly address: string;
  readonly engine: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What the caches of single endpoints hold: a CacheDigest over pairs of a content key and a slot. */
export interface EdgeDigest {
  /** Incarnation, number, and how much has been added. */
  readonly version: string;
  /** A whole digest; absent where the isolate has the one that `added` is to be put into. */
  readonly bytes?: Uint8Array;
  /** Pairs that came since then, as the digest's own words. */
  readonly added?: Uint32Array;
  /** One past the highest slot that it names. */
  readonly slotsEnd?: number;
}

/** A request that an isolate has decided on alone. */
export interface LocalCommit {
  readonly requestId: string;
  readonly attempt: number;
  /** As encodeTicketName writes it, with the isolate's own epoch, which begins with EDGE_EPOCH_PREFIX. */
  readonly ticket: string;
  readonly tenant: string;
  readonly fairnessId: string;
  readonly weight: number;
  readonly model: string;
  readonly priority: number;
  readonly keys: Uint32Array;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Charged to the first endpoint: prompt that is not cached there, and output. */
  readonly reservedTokens: number;
  /** Addresses in the order to try them. */
  readonly endpoints: readonly string[];
  /** Where others than these compute the prompt: addresses in the order to ask them. */
  readonly prefill?: { readonly endpoints: readonly string[]; readonly uncachedTokens: number };
  readonly decidedAgoMs: number;
  /** Why it was not consulted, for `explain`. */
  readonly terms: ConsultTerms;
}

/** A request of an isolate's own that has ended without a relay. */
export interface LocalEnd {
  readonly ticket: string;
  readonly attempt: number;
  /** As WorkerRelease in durable/contract.ts, or `left`: the context has ended, whatever a relay has. */
  readonly how: string;
}

/** Why a request was decided where it was. Closed set; a metric label. */
export type WhereReason =
  /** Local. */
  | "nothing-to-gain"
  | "asked-meanwhile"
  | "forced-local"
  | "object-away"
  /** Consulted. */
  | "forced-consult"
  | "near"
  | "no-snapshot"
  | "stale"
  | "no-credit"
  | "held"
  | "full"
  | "cache-elsewhere"
  | "not-local";

/** The terms of the choice between deciding alone and asking the object, all as of the decision. */
export interface ConsultTerms {
  readonly where: "local" | "consult";
  readonly reason: WhereReason;
  /** To the object and back, as measured or injected. */
  readonly rttMs: number;
  readonly snapshotAgeMs: number;
  /** Tokens of credit that were at hand, before this request: requests. */
  readonly credit: number;
  readonly saturation: number;
  /** Prompt tokens that the chosen endpoint is known to hold, and that any endpoint may hold at most. */
  readonly knownTokens: number;
  readonly possibleTokens: number;
  /** What asking could save in prefill at most. */
  readonly gainMs: number;
}

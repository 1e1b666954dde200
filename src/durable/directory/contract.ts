// The RPC of the directory's object with the Worker and with pools' objects. As ../contract.ts: plain values,
// safe across versions N and N-1; fields are only ever added, as optional ones.

import type { ConfigIssue, Deployment, ObjectiveConfig } from "../../config/deployment.ts";
import type { ModelRewriteConfig } from "../../scheduler/rewrite/config.ts";

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

/** What a pool's caches hold; see kv/digest. Of several objects: joined, see joined-digest.ts. */
export interface PoolDigest {
  readonly pool: string;
  /** Incarnation and number: equal where the content is. Of several objects: theirs, separated by commas. */
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

// Snapshots of a pool for isolates that ask: what has changed since the one they have, and the pool's facts.
//
// Whatever the number of isolates, the whole pool is looked at for all of them at most once within a few ms; an
// isolate that has just told of requests is shown the endpoints with them. The digest over pairs, which listens to every key
// that is learned, is kept for DIGEST_LEASE_MS after somebody has asked for it.

import type {
  EdgeDigest,
  EdgeKnown,
  EdgeLane,
  EdgeSnapshot,
} from "../../scheduler/edge/contracts.ts";
import { Lanes } from "../../scheduler/edge/lanes.ts";
import { PairDigestSource } from "../../scheduler/edge/pair-digest-source.ts";
import { type PoolFacts, SnapshotSource } from "../../scheduler/edge/snapshot-source.ts";
import type { KeyTable } from "../../scheduler/kv/block-table.ts";
import type { EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { PoolSummary } from "../../scheduler/pools/summary.ts";
import type { Clock } from "../../scheduler/support/clock.ts";

/** After the last isolate has asked for a digest none is kept. */
export const DIGEST_LEASE_MS = 60_000;
/** The pool's facts are of so long ago at most. */
export const FACTS_INTERVAL_MS = 20;
/** Between two summaries. Each isolate is told each once. */
const SUMMARY_INTERVAL_MS = 1_000;

/** Whoever has a digest has it no more. */
const NO_DIGEST: EdgeDigest = { version: "", bytes: new Uint8Array(0) };

/** What is told besides the endpoints. */
export type EdgeFacts = Omit<PoolFacts, "summary">;

export interface PoolSnapshotsOptions {
  /** Random at each construction of the object. */
  readonly epoch: string;
  readonly clock: Clock;
  readonly table: EndpointTable;
  /** Pairs in caches; see PairDigestSource. */
  readonly pairTables: () => readonly KeyTable[];
  /** Whether that is all that the object knows. */
  readonly isComplete: () => boolean;
  /** Calls back in a turn of its own. */
  readonly defer: (callback: () => void) => void;
  /** As of now; undefined for a pool that is not configured. O(endpoints). */
  readonly facts: () => EdgeFacts | undefined;
  /** Undefined where there is nothing to say. O(endpoints). */
  readonly summary: () => PoolSummary | undefined;
}

export class PoolSnapshots {
  readonly #options: PoolSnapshotsOptions;
  readonly #source: SnapshotSource;
  readonly #digest: PairDigestSource;
  readonly #lanes = new Lanes();
  #digestUntilMs = -Infinity;
  /** It has been told to somebody, and is kept up since. */
  #isDigestThere = false;
  #facts: EdgeFacts | undefined;
  #factsAtMs = -Infinity;
  #summary: PoolSummary | undefined;
  #summaryAtMs = -Infinity;
  /** Who has an older snapshot was not told the summary. */
  #summaryVersion = 0;

  constructor(options: PoolSnapshotsOptions) {
    this.#options = options;
    const { epoch, clock, table, isComplete, defer, pairTables } = options;
    this.#digest = new PairDigestSource({
      tables: pairTables,
      isComplete,
      clock,
      defer,
      incarnation: epoch,
      slotsEnd: () => table.columns.slotCount,
    });
    const digest = (known: string) => this.#digestFor(known);
    this.#source = new SnapshotSource({ epoch, table, clock, digest });
  }

  /** Undefined for a pool that is not configured. `isCurrent`: with all requests that were told of up to now. */
  take(known: EdgeKnown, isCurrent: boolean): EdgeSnapshot | undefined {
    const nowMs = this.#options.clock();
    if (this.#facts === undefined || nowMs - this.#factsAtMs >= FACTS_INTERVAL_MS) {
      this.#facts = this.#options.facts();
      this.#factsAtMs = nowMs;
    }
    if (this.#facts === undefined) return undefined;
    if (known.digest !== undefined) this.#digestUntilMs = nowMs + DIGEST_LEASE_MS;
    const snapshot = this.#source.take(known, this.#facts, isCurrent);
    const summary = this.#summaryFor(known, snapshot, nowMs);
    const lane = this.#laneOf(known, nowMs);
    return {
      ...snapshot,
      ...(summary === undefined ? {} : { summary }),
      ...(lane === undefined ? {} : { lane }),
    };
  }

  /** Of an isolate that decides alone: it wants to know what caches hold. */
  #laneOf({ seed, digest }: EdgeKnown, nowMs: number): EdgeLane | undefined {
    return seed === undefined || digest === undefined ? undefined : this.#lanes.of(seed, nowMs);
  }

  /** What `slot` held is gone. */
  slotVoid(): void {
    this.#digest.slotVoid();
  }

  /** Lets go of a digest that nobody asks for. */
  sweep(): void {
    if (this.#options.clock() < this.#digestUntilMs) return;
    this.#digestUntilMs = Infinity;
    this.#isDigestThere = false;
    this.#digest.stop();
  }

  #digestFor(known: string): EdgeDigest | undefined {
    const part = this.#digest.part(known);
    if (part !== undefined) this.#isDigestThere = true;
    // What has come since nobody tells: it might be believed to hold all.
    else if (!this.#isDigestThere && known !== "") return NO_DIGEST;
    return part;
  }

  #summaryFor(known: EdgeKnown, { base, version }: EdgeSnapshot, nowMs: number) {
    if (nowMs - this.#summaryAtMs >= SUMMARY_INTERVAL_MS) {
      this.#summary = this.#options.summary();
      this.#summaryAtMs = nowMs;
      this.#summaryVersion = version;
    }
    return base === null || known.version <= this.#summaryVersion ? this.#summary : undefined;
  }
}

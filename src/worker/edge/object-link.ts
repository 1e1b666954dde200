// What an isolate has of a pool's object, and how it keeps that: a replica of the pool, credit, how far the object
// is, and the calls that tell it what was decided here.

import type { EdgeSynced, HeldGrant } from "../../durable/contract.ts";
import { CreditHolder } from "../../scheduler/credits/credit-holder.ts";
import type { CreditAsk } from "../../scheduler/credits/contracts.ts";
import type { SnapshotFacts } from "../../scheduler/edge/consult-rule.ts";
import type { EdgeKnown, EdgeSnapshot } from "../../scheduler/edge/contracts.ts";
import { PoolReplica } from "../../scheduler/edge/pool-replica.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";
import { knownPools } from "../pools/known-pools.ts";
import { poolShards } from "../shards/pool-shards.ts";
import type { PoolView } from "../upstream/pool-view.ts";
import { EdgeCalls, type EdgeWay } from "./edge-calls.ts";
import type { LocalRecords } from "./local-records.ts";
import { ObjectRtt } from "./object-rtt.ts";

/** A replica of this age is renewed with the next pick that is asked for. */
const REPLICA_ASK_MS = 50;
/** The same where the isolate does not decide alone: only while the object is away. */
export const REPLICA_ASK_IDLE_MS = 1_000;
/** After a snapshot that cannot be read none is asked for. */
export const UNREADABLE_PAUSE_MS = 1_000;
/** Requests, as all of a pool's credit is. What is asked for where nothing was wanted lately. */
const CREDIT_WANT_MIN = 4;
const CREDIT_WANT_MAX = 4_096;

export interface ObjectLinkOptions {
  readonly pool: string;
  /** Of the object. */
  readonly address: string;
  /** What is known of whether the object answers. */
  readonly view: Pick<PoolView, "markBack">;
  /** The isolate's; see EdgeKnown. */
  readonly seed: number;
  /** Random, of this link. */
  readonly epoch: string;
  /** Of some of the decisions that were taken here. */
  readonly records: LocalRecords;
  /** Requests may be decided here: what caches hold is worth knowing, and credit worth having. */
  readonly decidesAlone: (nowMs: number) => boolean;
  /** The slot is free, or another endpoint's. */
  readonly endpointLeft: (slot: number) => void;
}

/** What a pick asks for besides endpoints. */
interface EdgeAsked {
  readonly edge?: EdgeKnown;
  readonly credit?: CreditAsk;
}

/** When an answer came, and to what. */
interface AnsweredAt {
  readonly nowMs: number;
  readonly askedAtMs: number;
  /** See SnapshotAt. */
  readonly shown: number;
}

export class ObjectLink {
  readonly #options: ObjectLinkOptions;
  readonly #rtt = new ObjectRtt();
  readonly credit: CreditHolder;
  readonly calls: EdgeCalls;
  #replica: PoolReplica | undefined;
  /** Until then no snapshot is asked for but by what is told. */
  #unreadableUntilMs = -Infinity;

  constructor(options: ObjectLinkOptions) {
    this.#options = options;
    const { address, epoch, pool } = options;
    this.credit = new CreditHolder({
      scope: `pool/${address}`,
      id: epoch,
      wantMin: CREDIT_WANT_MIN,
      wantMax: CREDIT_WANT_MAX,
    });
    this.calls = new EdgeCalls({
      ask: (nowMs, untoldCount) => ({
        known: this.#known(nowMs, false),
        ...options.records.take(),
        ...(options.decidesAlone(nowMs) ? { credit: this.credit.ask(nowMs, untoldCount) } : {}),
      }),
      lastNumber: () => this.#replica?.lastDispatch ?? 0,
      answered: (synced, at) => this.#synced(synced, { ...at, nowMs: Date.now() }),
      failed: (error) => this.#syncFailed(error),
      dropped: (count) => metrics.inc(METRIC.edgeCommitsDroppedTotal, { pool }, count),
    });
  }

  /** Undefined before the first snapshot. */
  get replica(): PoolReplica | undefined {
    return this.#replica;
  }

  /** There and back; undefined while it is not known. */
  rttMs(nowMs: number): number | undefined {
    return this.#rtt.rttMs(nowMs);
  }

  /** A call to the object took so long. */
  measured(ms: number, nowMs: number): void {
    this.#rtt.add(ms, nowMs);
  }

  /** Undefined without a replica. */
  facts(nowMs: number): SnapshotFacts | undefined {
    return this.#replica?.facts(nowMs);
  }

  /** `isConsulted`: the pick is never decided on here. */
  asked(nowMs: number, isConsulted: boolean): EdgeAsked {
    const isAlone = !isConsulted && this.#options.decidesAlone(nowMs);
    const ageMs = this.facts(nowMs)?.ageMs ?? Infinity;
    const isOld = ageMs >= (isAlone ? REPLICA_ASK_MS : REPLICA_ASK_IDLE_MS);
    const asksForIt = isOld && nowMs >= this.#unreadableUntilMs;
    return {
      ...(asksForIt ? { edge: this.#known(nowMs, isConsulted) } : {}),
      ...(isAlone ? { credit: this.credit.ask(nowMs, this.calls.untoldCount) } : {}),
    };
  }

  /** What came with an answer to a pick. `askedAtMs`: when the object was asked for it. */
  granted(
    { credit, edge }: Pick<HeldGrant, "credit" | "edge">,
    askedAtMs: number,
    nowMs: number,
  ): void {
    if (credit !== undefined) this.credit.granted(credit, askedAtMs);
    if (edge !== undefined) this.#apply(edge, { nowMs, askedAtMs, shown: this.calls.shownNow() });
  }

  /** Behind a request that the object was asked about: the next ones may be decided here. */
  renew(way: EdgeWay, nowMs: number): void {
    const replica = this.#replica;
    if (replica === undefined || !this.#options.decidesAlone(nowMs)) return;
    if (nowMs < this.#unreadableUntilMs) return;
    const hasDigest = replica.known.digest !== "";
    if (!hasDigest || replica.isToBeRenewed(nowMs)) this.calls.begin(way, nowMs);
  }

  /**
   * Without a digest where nothing is decided by it. A request that is none of the isolate's to decide begins
   * none, and keeps up the one that others decide by.
   */
  #known(nowMs: number, isConsulted: boolean): EdgeKnown {
    const { seed, decidesAlone } = this.#options;
    const known = this.#replica?.known ?? { epoch: "", version: 0, digest: "", seed };
    const isUseful = !isConsulted || known.digest !== "";
    if (isUseful && decidesAlone(nowMs)) return known;
    const { digest: _, ...others } = known;
    return others;
  }

  #synced({ credit, snapshot }: EdgeSynced, at: AnsweredAt): void {
    const { nowMs, askedAtMs } = at;
    metrics.inc(METRIC.edgeSyncsTotal, { pool: this.#options.pool, outcome: "answered" });
    this.#options.view.markBack();
    this.measured(nowMs - askedAtMs, nowMs);
    this.#options.records.told();
    if (credit !== undefined) this.credit.granted(credit, askedAtMs);
    if (snapshot !== undefined) this.#apply(snapshot, at);
    // It is not configured any more.
    else this.#replica?.forget();
  }

  /** Does not take the object for away: one that is slow may have requests waiting, which no other may pass. */
  #syncFailed(error: unknown): void {
    const isUnknown = error instanceof Error && UNKNOWN_WORD.test(error.message);
    const outcome = isUnknown ? "unknown" : "failed";
    metrics.inc(METRIC.edgeSyncsTotal, { pool: this.#options.pool, outcome });
    // Its snapshot and its credit run out, and then a pick asks it: that finds out whether it is there.
    if (!isUnknown) return;
    // An object of a release before has come, which learns from relays. The replica grows old, and then it decides.
    this.calls.clear();
  }

  /** One that cannot be read leaves nothing behind: what came with it is as good. */
  #apply(snapshot: EdgeSnapshot, at: AnsweredAt): void {
    try {
      this.#take(snapshot, at);
    } catch {
      // Of another release: a field is not what it was, or is missing.
      metrics.inc(METRIC.edgeSnapshotsUnreadableTotal, { pool: this.#options.pool });
      this.#replica?.forget();
      this.#unreadableUntilMs = at.nowMs + UNREADABLE_PAUSE_MS;
    }
  }

  #take(snapshot: EdgeSnapshot, { nowMs, askedAtMs, shown }: AnsweredAt): void {
    const rttMs = this.rttMs(nowMs) ?? 0;
    const asOfMs = Math.max(askedAtMs, nowMs - rttMs / 2);
    this.#replica ??= new PoolReplica({ seed: this.#options.seed });
    const applied = this.#replica.apply(snapshot, { asOfMs, nowMs, shown });
    if (snapshot.summary !== undefined) knownPools.heard(snapshot.summary, nowMs);
    if (snapshot.shards !== undefined) poolShards.heard(this.#options.pool, snapshot.shards, nowMs);
    if (applied.ok) for (const slot of applied.left) this.#options.endpointLeft(slot);
  }
}

/** What the runtime says of a method that is not there. */
const UNKNOWN_WORD = /does not implement/;

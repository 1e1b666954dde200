// The calls by which an isolate tells a pool's object what it has decided alone, and gets to know how the pool
// is.
//
//   request ── commit ──► outbox ── EDGE_GATHER_MS, ──► sync ──► snapshot, credit
//                                   again while more come
//
// One call at a time, so that snapshots come in order: what comes meanwhile goes with the next. A timer and a
// call belong to the request that began them, so the request whose commit finds nobody at work does that work,
// behind its answer, also if its client leaves, and goes on for as long as others bring more, up to
// TELL_MS_MAX. Where its context ends before, the next request takes over when LEASE_MS is over, with what was
// under way: whether the object has heard of that is not known, and telling it twice does no harm.

import type { EdgePort, EdgeSync, EdgeSynced } from "../../durable/contract.ts";
import type { LocalCommit, LocalEnd } from "../../scheduler/edge/contracts.ts";
import { disposeResult } from "../dispose-result.ts";
import { withDeadline } from "../shared-copy.ts";
import { type Batch, Outbox, type PendingCommit } from "./outbox.ts";

/** Commits wait so long for others to go with. The object hears of a load so much later, and is called so much less. */
export const EDGE_GATHER_MS = 20;
/** So often again, for as long as more come: where nobody comes, waiting would only be late. */
export const EDGE_GATHERS_MAX = 3;
/** So many go at once: a call's cost is little beside theirs, and the object is to know of them. */
export const GATHERED_COMMITS = 16;
/** An answer's end waits so long for a commit to go with: its relay tells it as well. */
export const LEFT_GATHER_MS = 250;
export const SYNC_DEADLINE_MS = 2_000;
/** Between a call that failed and the next. */
export const SYNC_RETRY_MS = 500;
/** One request does the work of others for so long: its context may not outlive its answer by 30 s. */
export const TELL_MS_MAX = 10_000;
/** Longer than a worker is silent. */
const LEASE_MS = SYNC_DEADLINE_MS + SYNC_RETRY_MS + 500;

/** A pick has had its answer by then, or was heard or lost without one. */
const WITH_PICK_MS = 4_000;

/** How a request reaches the object, and who keeps its context alive. */
export interface EdgeWay {
  /** A fresh way to the object for each call. */
  readonly port: () => Partial<EdgePort>;
  /** Never rejects. */
  readonly hold: (work: Promise<void>) => void;
}

export interface EdgeCallsOptions {
  /** What goes with a call besides commits and ends. `untoldCount`: commits that do not go with it. */
  readonly ask: (
    nowMs: number,
    untoldCount: number,
  ) => Pick<EdgeSync, "known" | "credit" | "records">;
  /** Of the replica's last dispatch. */
  readonly lastNumber: () => number;
  /** `shown`: the object had been told of the dispatches up to this one. Never throws. */
  readonly answered: (synced: EdgeSynced, at: { askedAtMs: number; shown: number }) => void;
  /** The object is away, busy, or of a release that has no such word. Never throws. */
  readonly failed: (error: unknown) => void;
  /** Of commits and ends that will never be told. */
  readonly dropped: (count: number) => void;
}

interface Work {
  readonly startedMs: number;
  readonly gatherMs: number;
  readonly turn: number;
}

export class EdgeCalls {
  readonly #options: EdgeCallsOptions;
  readonly #outbox: Outbox;
  /** Until then a request is at work. */
  #leaseUntilMs = -Infinity;
  /** Of the call whose answer nobody has seen yet. */
  #underWay: Batch | undefined;
  /** Of the work that has the lease. */
  #turn = 0;
  /** It waits with ends only: who has a commit takes over. */
  #isInNoHurry = false;
  /** Commits that go with picks which nobody has an answer to yet: Unix ms at which each was asked about, oldest first. */
  #withPicks: number[] = [];

  constructor(options: EdgeCallsOptions) {
    this.#options = options;
    this.#outbox = new Outbox(options.dropped);
  }

  /** Commits that the object is not known to have heard of. */
  get untoldCount(): number {
    return this.#outbox.commitCount + (this.#underWay?.commits.length ?? 0) + this.#pickCount;
  }

  /** A commit goes with a pick of its own: until that is answered another call may pass it. */
  beginWithPick(nowMs: number): void {
    this.#withPicks.push(nowMs);
  }

  endWithPick(begunAtMs: number): void {
    const at = this.#withPicks.indexOf(begunAtMs);
    if (at >= 0) this.#withPicks.splice(at, 1);
  }

  /** A request's context may end without a word. */
  get #pickCount(): number {
    const sinceMs = Date.now() - WITH_PICK_MS;
    while (this.#withPicks.length > 0 && this.#withPicks[0]! < sinceMs) this.#withPicks.shift();
    return this.#withPicks.length;
  }

  /** The object knows of the dispatches up to this one: those after it wait, or are on their way. */
  shownNow(): number {
    const first = this.#underWay?.commits[0]?.number ?? this.#outbox.firstNumber;
    return first === undefined ? this.#options.lastNumber() : first - 1;
  }

  commit(pending: PendingCommit, way: EdgeWay): void {
    this.#outbox.addCommit(pending);
    this.begin(way, pending.decidedAtMs);
  }

  end(end: LocalEnd, way: EdgeWay): void {
    this.#outbox.addEnd(end);
    this.#begin(way, Date.now(), end.how === "left" ? LEFT_GATHER_MS : EDGE_GATHER_MS);
  }

  /** Sees to it that the object is asked, if only how the pool is. */
  begin(way: EdgeWay, nowMs: number): void {
    this.#begin(way, nowMs, EDGE_GATHER_MS);
  }

  #begin(way: EdgeWay, nowMs: number, gatherMs: number): void {
    const isSooner = this.#isInNoHurry && gatherMs < LEFT_GATHER_MS;
    if (nowMs < this.#leaseUntilMs && !isSooner) return;
    this.#isInNoHurry = gatherMs === LEFT_GATHER_MS;
    this.#putBack();
    this.#leaseUntilMs = nowMs + LEASE_MS;
    way.hold(this.#work(way, { startedMs: nowMs, gatherMs, turn: ++this.#turn }));
  }

  /** Nobody is to hear of what was not told. */
  clear(): void {
    this.#outbox.clear();
  }

  async #work(way: EdgeWay, { startedMs, gatherMs, turn }: Work): Promise<void> {
    let pauseMs = gatherMs;
    do {
      await this.#gather(pauseMs);
      if (turn !== this.#turn) return;
      this.#isInNoHurry = false;
      const isTold = await this.#tell(way);
      if (turn !== this.#turn) return;
      this.#leaseUntilMs = Date.now() + LEASE_MS;
      pauseMs = isTold ? EDGE_GATHER_MS : SYNC_RETRY_MS;
    } while (!this.#outbox.isEmpty && Date.now() - startedMs < TELL_MS_MAX);
    this.#leaseUntilMs = -Infinity;
  }

  /** Waits for what is to go with the next call. */
  async #gather(pauseMs: number): Promise<void> {
    const gathersMax = pauseMs === EDGE_GATHER_MS ? EDGE_GATHERS_MAX : 1;
    for (let gathers = 1; ; gathers++) {
      const before = this.#outbox.commitCount;
      await pause(pauseMs);
      const { commitCount } = this.#outbox;
      const isWorthIt = commitCount > before && commitCount < GATHERED_COMMITS;
      if (!isWorthIt || gathers === gathersMax) return;
    }
  }

  /** What is under way waits again. */
  #putBack(): void {
    if (this.#underWay !== undefined) this.#outbox.putBack(this.#underWay);
    this.#underWay = undefined;
  }

  async #tell(way: EdgeWay): Promise<boolean> {
    const askedAtMs = Date.now();
    const batch = this.#outbox.take();
    const asked = this.#options.ask(askedAtMs, this.#outbox.commitCount + this.#pickCount);
    const commits = batch.commits.map((pending) => commitAt(pending, askedAtMs));
    // The answer shows what goes with the call.
    const shown = this.shownNow();
    this.#underWay = batch;
    let synced: EdgeSynced;
    try {
      const call = callOf(way, { ...asked, commits, ends: batch.ends });
      synced = await withDeadline(call, SYNC_DEADLINE_MS, disposeResult);
    } catch (error) {
      // Unreachable, overloaded, too slow, or reset during the call.
      if (this.#underWay === batch) this.#putBack();
      this.#options.failed(error);
      return false;
    }
    // Else another request has taken over, and tells it again.
    if (this.#underWay === batch) this.#underWay = undefined;
    this.#options.answered(synced, { askedAtMs, shown });
    disposeResult(synced);
    return true;
  }
}

async function callOf(way: EdgeWay, sync: EdgeSync): Promise<EdgeSynced> {
  return way.port().sync!(sync);
}

function commitAt({ commit, decidedAtMs }: PendingCommit, nowMs: number): LocalCommit {
  return { ...commit, decidedAgoMs: Math.max(0, nowMs - decidedAtMs) };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

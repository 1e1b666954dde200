// When a pool's summary is pushed, and with which digest.
//
//   noticed ──► look ──changed, or SUMMARY_INTERVAL_MS over──► push ──► look
//                 └──no──► again when that is over, if anything was noticed since the last push
//
// Whoever notices something sets a timer and no more, so a pick never waits for it. One push at a time;
// one that fails is not repeated: the next summary is newer, and comes after SUMMARY_INTERVAL_MS. So a
// directory that is away costs a call a second and a counter.
//
// Digests are made and pushed while isolates ask the directory for them: where a model has one pool there is
// nothing to choose, and nobody does.
//
// An object with work has a timer, and one whose agents talk is woken by them: both go on each
// SUMMARY_INTERVAL_MS. One where nothing happens any more says so a last time, falls silent and can
// hibernate, with its agents connected. Others see it as silent, which ranks behind those that talk: its
// loads are not known either.

import {
  type PoolSummary,
  SUMMARY_INTERVAL_MS,
  SUMMARY_MIN_INTERVAL_MS,
} from "../../scheduler/pools/summary.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { PoolDigest, PoolReported } from "../directory/contract.ts";
import { DIGEST_INTERVAL_MS, type DigestMaker } from "./digest-maker.ts";
import { healthOf } from "./pool-summary.ts";

/** A push that takes longer is taken for lost. */
export const REPORT_DEADLINE_MS = 2_000;
/** A directory cannot hold a pool back for longer. */
const PAUSE_MS_MAX = 10_000;
/** Digests are made for so long after the directory has said last that they are used: it may begin anew. */
export const DIGEST_USED_MS = 30_000;
/** Pushes in a row that may fail before an object that has nothing else to do gives up. */
export const FAILURES_MAX = 3;

/** Where summaries go. */
export interface SummarySink {
  report(summary: PoolSummary, digest?: PoolDigest): Promise<PoolReported>;
}

/** How a push ended; also a metric's label. */
export type PushOutcome = "ok" | "unknown-pool" | "failed";

export interface SummaryReporterOptions {
  readonly sink: SummarySink;
  readonly clock: Clock;
  /** A new summary; undefined where there is no pool to speak of. */
  readonly summarize: () => PoolSummary | undefined;
  readonly digest: DigestMaker;
  /** Whether summaries go on without anything being noticed: a timer then keeps the object in memory. */
  readonly isAwake: () => boolean;
  readonly pushed: (outcome: PushOutcome) => void;
}

export class SummaryReporter {
  readonly #options: SummaryReporterOptions;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerAtMs = Infinity;
  #lookedAtMs = -Infinity;
  #isUnderWay = false;
  /** Since the last push began. */
  #isNoticed = false;
  /** In a row. */
  #failures = 0;
  /** Of the last push, whether it arrived or not. */
  #pushedAtMs = -Infinity;
  /** No push before. */
  #pausedUntilMs = -Infinity;
  #health: string | undefined;
  #digestVersion: string | undefined;
  #isDigestWanted = false;
  #digestSentAtMs = -Infinity;
  #digestUsedUntilMs = -Infinity;

  constructor(options: SummaryReporterOptions) {
    this.#options = options;
  }

  /** Something may have changed. O(1). */
  noticed(): void {
    this.#isNoticed = true;
    this.#lookAt(this.#lookedAtMs + SUMMARY_MIN_INTERVAL_MS);
  }

  #lookAt(atMs: number): void {
    if (atMs >= this.#timerAtMs || this.#isUnderWay) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => this.#look(), Math.max(0, atMs - this.#options.clock()));
  }

  #look(): void {
    this.#timerAtMs = Infinity;
    const { clock, summarize, digest, isAwake } = this.#options;
    const nowMs = clock();
    this.#lookedAtMs = nowMs;
    const summary = summarize();
    if (summary === undefined) return digest.stop();
    if (nowMs < this.#digestUsedUntilMs) digest.renew();
    else if (digest.published !== undefined) digest.stop();
    const isChanged = healthOf(summary) !== this.#health || this.#isDigestDue(nowMs);
    const nextMs = this.#pushedAtMs + SUMMARY_INTERVAL_MS;
    const goesOn = this.#isNoticed || isAwake();
    // Not for ever: the directory may be away, and there is nothing new to tell.
    if (!goesOn && this.#failures >= FAILURES_MAX) return;
    const isDue = isChanged || (goesOn && nowMs >= nextMs);
    if (isDue && nowMs >= this.#pausedUntilMs) return void this.#push(summary, nowMs);
    if (isDue) this.#lookAt(this.#pausedUntilMs);
    else if (goesOn) this.#lookAt(nextMs);
  }

  async #push(summary: PoolSummary, nowMs: number): Promise<void> {
    this.#isUnderWay = true;
    this.#isNoticed = false;
    this.#pushedAtMs = nowMs;
    const digest = this.#isDigestDue(nowMs) ? this.#digest(summary.pool, nowMs) : undefined;
    if (digest !== undefined) this.#digestSentAtMs = nowMs;
    try {
      const reported = await this.#call(summary, digest);
      this.#failures = 0;
      this.#health = healthOf(summary);
      if (digest !== undefined) this.#digestVersion = digest.version;
      this.#isDigestWanted = reported.wantsDigest;
      if (reported.usesDigest ?? true) this.#digestUsedUntilMs = nowMs + DIGEST_USED_MS;
      const pauseMs = Math.min(PAUSE_MS_MAX, reported.pauseMs ?? 0);
      const calmMs = reported.isKnown ? SUMMARY_MIN_INTERVAL_MS : SUMMARY_INTERVAL_MS;
      this.#pausedUntilMs = nowMs + Math.max(calmMs, pauseMs);
      this.#options.pushed(reported.isKnown ? "ok" : "unknown-pool");
    } catch {
      // What changed meanwhile is told with the next one.
      this.#failures += 1;
      this.#health = undefined;
      this.#pausedUntilMs = nowMs + SUMMARY_INTERVAL_MS;
      this.#options.pushed("failed");
    } finally {
      this.#isUnderWay = false;
    }
    // Whatever was noticed under way is seen now; while nothing is, the object may go to sleep.
    this.#lookAt(Math.max(this.#pausedUntilMs, this.#lookedAtMs + SUMMARY_MIN_INTERVAL_MS));
  }

  async #call(summary: PoolSummary, digest: PoolDigest | undefined): Promise<PoolReported> {
    const { promise: deadline, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("deadline")), REPORT_DEADLINE_MS);
    const call = this.#options.sink.report(summary, digest);
    return Promise.race([call, deadline]).finally(() => clearTimeout(timer));
  }

  #isDigestDue(nowMs: number): boolean {
    const { published } = this.#options.digest;
    if (published === undefined || nowMs - this.#digestSentAtMs < DIGEST_INTERVAL_MS) return false;
    return this.#isDigestWanted || published.version !== this.#digestVersion;
  }

  #digest(pool: string, nowMs: number): PoolDigest | undefined {
    const { published } = this.#options.digest;
    if (published === undefined) return undefined;
    const { version, bytes, publishedAtMs } = published;
    return { pool, version, bytes, ageMs: Math.max(0, nowMs - publishedAtMs) };
  }
}

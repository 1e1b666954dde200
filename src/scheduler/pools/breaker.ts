// The breaker of one pool, relay or endpoint, as one isolate sees it.
//
//            fatal failure, or too many of late          lease over
//   closed ────────────────────────────────────▶ open ─────────────▶ half-open: one probe at a time
//      ▲                                           ▲                   │    │  neutral: the probe's
//      │                                           └──── failure ──────┤    └─ place is given back
//      └───────────────────────────────────────────────── success ─────┘
//
// Every opening is a lease that ends by itself, twice as long each time it was in vain, and never longer
// than LEASE_MS_MAX: what comes back is used again within that. Leases are shortened at random, so that
// isolates do not all ask at once. A probe is a lease, too: one that nobody tells the end of is given back.
//
// A lease also ends when the other side says of itself, by another way, that it is well again: then a probe
// is worth more than waiting.
//
// Three outcomes, as voidllm#185 asks for: a throttled pool is not broken. What was sent before the breaker
// opened says nothing of now: its outcome is ignored, so that a hundred connections that one reset ends
// do not count as a hundred relapses.
//
// Source: Envoy's outlier detection (consecutive failures, ejection time × ejections), Nygard, Release It!

import type { Rng } from "../support/rng.ts";
import type { BreakerState } from "./contracts.ts";

/** `neutral` says nothing of health: 429, a client that left. It gives a probe's place back. */
export type BreakerOutcome = "success" | "failure" | "neutral";

/** `pass` while it is closed; `probe` for the one request that may try. */
export type BreakerPermit = "pass" | "probe";

/** The end of one attempt. */
export interface BreakerReport {
  /** As it was given; undefined where the attempt was made against its word, because nobody else was left. */
  readonly permit: BreakerPermit | undefined;
  readonly outcome: BreakerOutcome;
  /** Of a failure: nobody listens there, or the connection was reset before an answer. */
  readonly isFatal?: boolean;
  /** When the attempt began. One from before the last closing says nothing of now. */
  readonly begunAtMs?: number;
}

export interface BreakerOptions {
  /** Outcomes younger than this count. */
  readonly windowMs: number;
  /** Of so many outcomes at least, a share of failures that opens. */
  readonly samplesMin: number;
  readonly failureRate: number;
  /** So many failures on end open, however few outcomes there are. */
  readonly consecutiveFailures: number;
  readonly leaseMs: number;
  readonly leaseMsMax: number;
  readonly probeLeaseMs: number;
}

export const BREAKER_DEFAULTS: BreakerOptions = {
  windowMs: 10_000,
  samplesMin: 10,
  failureRate: 0.5,
  consecutiveFailures: 5,
  leaseMs: 1_000,
  leaseMsMax: 4_000,
  probeLeaseMs: 2_000,
};

/** A lease lasts from half of its length to all of it. */
const JITTER = 0.5;

/** Counts of half a window. */
interface Counts {
  failures: number;
  total: number;
}

export class Breaker {
  readonly #options: BreakerOptions;
  #isOpen = false;
  #leaseEndMs = -Infinity;
  #probeEndMs = -Infinity;
  #closedAtMs = -Infinity;
  /** Openings that followed on each other. */
  #openings = 0;
  #leaseMs = 0;
  #consecutive = 0;
  /** Of this half of a window and the one before. */
  #half = Number.NEGATIVE_INFINITY;
  #now: Counts = { failures: 0, total: 0 };
  #before: Counts = { failures: 0, total: 0 };

  constructor(options: BreakerOptions = BREAKER_DEFAULTS) {
    this.#options = options;
  }

  /** `half-open` while a probe may be sent; `open` also while one is under way. */
  state(nowMs: number): BreakerState {
    if (!this.#isOpen) return "closed";
    return nowMs < this.#leaseEndMs || nowMs < this.#probeEndMs ? "open" : "half-open";
  }

  /** Nothing speaks against it, and nothing did of late: it can be forgotten. */
  isClean(nowMs: number): boolean {
    if (this.#isOpen) return false;
    this.#turn(nowMs);
    const failures = this.#now.failures + this.#before.failures;
    return failures === 0 && nowMs - this.#closedAtMs > this.#leaseMs;
  }

  /** Asked right before an attempt. Undefined: it should not be made while there is somebody else. */
  acquire(nowMs: number): BreakerPermit | undefined {
    const state = this.state(nowMs);
    if (state === "closed") return "pass";
    if (state === "open") return undefined;
    this.#probeEndMs = nowMs + this.#options.probeLeaseMs;
    return "probe";
  }

  /** Half-open from now on, if it is open. A probe that is under way goes on. */
  endLease(nowMs: number): void {
    this.#leaseEndMs = Math.min(this.#leaseEndMs, nowMs);
  }

  record(report: BreakerReport, nowMs: number, rng: Rng): void {
    const { permit, outcome, isFatal = false, begunAtMs = nowMs } = report;
    if (outcome === "neutral") {
      if (permit === "probe") this.#probeEndMs = -Infinity;
    } else if (!this.#isOpen) {
      if (begunAtMs < this.#closedAtMs) return;
      this.#count(outcome, nowMs);
      if (outcome === "failure" && (isFatal || this.#isTooMany())) this.#open(nowMs, rng);
    } else if (permit !== "pass") {
      if (outcome === "success") this.#close(nowMs);
      // Who was sent against its word while the lease runs tells nothing new.
      else if (permit === "probe" || nowMs >= this.#leaseEndMs) this.#open(nowMs, rng);
    }
  }

  #count(outcome: BreakerOutcome, nowMs: number): void {
    this.#turn(nowMs);
    this.#now.total += 1;
    if (outcome === "success") {
      this.#consecutive = 0;
      return;
    }
    this.#now.failures += 1;
    this.#consecutive += 1;
  }

  #turn(nowMs: number): void {
    const half = Math.floor(nowMs / (this.#options.windowMs / 2));
    if (half === this.#half) return;
    const isNext = half === this.#half + 1;
    this.#before = isNext ? this.#now : { failures: 0, total: 0 };
    this.#now = { failures: 0, total: 0 };
    this.#half = half;
  }

  #isTooMany(): boolean {
    const { consecutiveFailures, failureRate, samplesMin } = this.#options;
    if (this.#consecutive >= consecutiveFailures) return true;
    const total = this.#now.total + this.#before.total;
    const failures = this.#now.failures + this.#before.failures;
    return total >= samplesMin && failures >= failureRate * total;
  }

  #open(nowMs: number, rng: Rng): void {
    // A relapse right after closing goes on where it left off.
    const isRelapse = this.#isOpen || nowMs - this.#closedAtMs <= this.#leaseMs;
    this.#openings = isRelapse ? this.#openings + 1 : 1;
    const { leaseMs, leaseMsMax } = this.#options;
    this.#leaseMs = Math.min(leaseMsMax, leaseMs * 2 ** (this.#openings - 1));
    this.#leaseEndMs = nowMs + this.#leaseMs * (1 - JITTER * rng());
    this.#probeEndMs = -Infinity;
    this.#isOpen = true;
  }

  #close(nowMs: number): void {
    this.#isOpen = false;
    this.#closedAtMs = nowMs;
    this.#leaseEndMs = -Infinity;
    this.#probeEndMs = -Infinity;
    this.#consecutive = 0;
    this.#now = { failures: 0, total: 0 };
    this.#before = { failures: 0, total: 0 };
  }
}

// The breakers of one isolate, by key, and who has said of himself that he is overloaded.

import type { Rng } from "../support/rng.ts";
import {
  Breaker,
  BREAKER_DEFAULTS,
  type BreakerOptions,
  type BreakerPermit,
  type BreakerReport,
} from "./breaker.ts";
import type { BreakerState } from "./contracts.ts";

/** Keys with something against them at the same time; the oldest is forgotten for one more. */
export const BREAKERS_MAX = 1_024;
/**
 * How long a 429 is remembered, whatever it asks for. Dynamo's marks had no end: an idle worker was refused
 * for 15 minutes (dynamo#14210). Ours end by themselves, and with any success.
 */
export const OVERLOAD_LEASE_MS = 1_000;

/** A key is a pool's name, a relay's URL or an endpoint's address. Healthy ones take no room. */
export class Breakers {
  readonly #options: BreakerOptions;
  readonly #byKey = new Map<string, Breaker>();
  readonly #overloadedUntilMs = new Map<string, number>();

  constructor(options: Partial<BreakerOptions> = {}) {
    this.#options = { ...BREAKER_DEFAULTS, ...options };
  }

  get size(): number {
    return Math.max(this.#byKey.size, this.#overloadedUntilMs.size);
  }

  state(key: string, nowMs: number): BreakerState {
    return this.#byKey.get(key)?.state(nowMs) ?? "closed";
  }

  /** See Breaker.acquire. Each permit is given back by one `record`. */
  acquire(key: string, nowMs: number): BreakerPermit | undefined {
    const breaker = this.#byKey.get(key);
    return breaker === undefined ? "pass" : breaker.acquire(nowMs);
  }

  record(key: string, report: BreakerReport, nowMs: number, rng: Rng): void {
    if (report.outcome === "success") this.#overloadedUntilMs.delete(key);
    let breaker = this.#byKey.get(key);
    if (breaker === undefined) {
      if (report.outcome !== "failure") return;
      makeRoom(this.#byKey);
      breaker = new Breaker(this.#options);
      this.#byKey.set(key, breaker);
    }
    breaker.record(report, nowMs, rng);
    if (breaker.isClean(nowMs)) this.#byKey.delete(key);
  }

  /** There is reason to believe that it is well again: it may be probed now. */
  saidWell(key: string, nowMs: number): void {
    this.#byKey.get(key)?.endLease(nowMs);
  }

  /** It has answered 429, or that it is overloaded: for a moment it comes after others. */
  overloaded(key: string, nowMs: number): void {
    this.#overloadedUntilMs.delete(key);
    makeRoom(this.#overloadedUntilMs);
    this.#overloadedUntilMs.set(key, nowMs + OVERLOAD_LEASE_MS);
  }

  isOverloaded(key: string, nowMs: number): boolean {
    const untilMs = this.#overloadedUntilMs.get(key);
    return untilMs !== undefined && nowMs < untilMs;
  }
}

function makeRoom(map: Map<string, unknown>): void {
  if (map.size < BREAKERS_MAX) return;
  const [oldest] = map.keys();
  map.delete(oldest!);
}

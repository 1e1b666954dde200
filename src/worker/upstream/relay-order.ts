// Which of a pool's relays to try first, and what attempts at them say of them and of the pool.
//
//   answered                 success, whatever the engine says; but for the pool 5xx is a failure, 429 neutral
//   unreachable, stopping    failure at once: of the pool when no other relay of it is left
//   busy                     neutral; the relay comes after others for a moment
//   exhausted                the relay is well; none of its engines could be reached, which is the pool's failure
//   no prefill, no answer in time, signature refused
//                            neutral for the relay, failure of the pool: it would not serve the next one either
//   whatever else it says    neutral, as a client that left
//
// A pool with one relay has one breaker, the pool's.

import type { RelayConfig } from "../../config/deployment.ts";
import type { BreakerOutcome, BreakerPermit } from "../../scheduler/pools/breaker.ts";
import type { Breakers } from "../../scheduler/pools/breakers.ts";
import type { Rng } from "../../scheduler/support/rng.ts";
import type { RelayAnswer } from "./relay-fetch.ts";

/** One attempt, as breakers are told of it. */
export interface JudgedAttempt {
  readonly pool: string;
  readonly relays: readonly Pick<RelayConfig, "url">[];
  /** Undefined: none was asked. */
  readonly relay: Pick<RelayConfig, "url"> | undefined;
  /** Of the pool and the relay; undefined where it was made against the breaker's word. */
  readonly permits: Permits;
}

export interface Permits {
  readonly pool: BreakerPermit | undefined;
  readonly relay: BreakerPermit | undefined;
}

/**
 * All of `relays`, in the order to try them: beginning anywhere, so that they share the load, and those last
 * that are not to be tried now.
 */
export function orderRelays(
  relays: readonly RelayConfig[],
  breakers: Breakers,
  nowMs: number,
  rng: Rng,
): RelayConfig[] {
  if (relays.length === 1) return [...relays];
  const start = Math.floor(rng() * relays.length);
  const rotated = [...relays.slice(start), ...relays.slice(0, start)];
  const rankOf = ({ url }: RelayConfig) => {
    if (breakers.state(url, nowMs) === "open") return 2;
    return breakers.isOverloaded(url, nowMs) ? 1 : 0;
  };
  return rotated.sort((a, b) => rankOf(a) - rankOf(b));
}

/** Asked right before an attempt; one report of its end is to follow. */
export function acquireRelay(
  { url }: Pick<RelayConfig, "url">,
  relays: readonly unknown[],
  breakers: Breakers,
  nowMs: number,
): BreakerPermit | undefined {
  return relays.length === 1 ? undefined : breakers.acquire(url, nowMs);
}

/** Tells the breakers how an attempt has ended. */
export function recordAttempt(
  { pool, relays, relay, permits }: JudgedAttempt,
  answer: RelayAnswer,
  breakers: Breakers,
  at: { readonly nowMs: number; readonly rng: Rng },
): void {
  const { nowMs, rng } = at;
  const { ofRelay, ofPool, isFatal, isOnes = isFatal } = verdictOn(answer);
  if (relays.length > 1 && relay !== undefined) {
    const report = { permit: permits.relay, outcome: ofRelay, isFatal };
    breakers.record(relay.url, report, nowMs, rng);
  }
  if (answer.kind === "declined" && FULL.has(answer.code)) {
    breakers.overloaded(relays.length > 1 && relay !== undefined ? relay.url : pool, nowMs);
  }
  if (answer.kind === "answered" && answer.response.status === 429)
    breakers.overloaded(pool, nowMs);
  const hasOther = relays.some(
    ({ url }) => url !== relay?.url && breakers.state(url, nowMs) !== "open",
  );
  // One of several that is lost is not the pool.
  const outcome = isOnes && hasOther ? "neutral" : ofPool;
  breakers.record(pool, { permit: permits.pool, outcome, isFatal }, nowMs, rng);
}

interface Verdict {
  readonly ofRelay: BreakerOutcome;
  readonly ofPool: BreakerOutcome;
  readonly isFatal: boolean;
  /** It says nothing of the others, also where it is not fatal. */
  readonly isOnes?: boolean;
}

/** What relays and upstreams say that are full. */
const FULL: ReadonlySet<string> = new Set(["busy", "upstream-full"]);
const NEUTRAL: Verdict = { ofRelay: "neutral", ofPool: "neutral", isFatal: false };
const LOST: Verdict = { ofRelay: "failure", ofPool: "failure", isFatal: true };
const WELL: Verdict = { ofRelay: "success", ofPool: "success", isFatal: false };

function verdictOn(answer: RelayAnswer): Verdict {
  if (answer.kind === "unreachable") return LOST;
  if (answer.kind === "cancelled") return NEUTRAL;
  if (answer.kind === "answered") {
    const { status } = answer.response;
    if (status === 429) return { ...WELL, ofPool: "neutral" };
    return status >= 500 ? { ...WELL, ofPool: "failure" } : WELL;
  }
  switch (answer.code) {
    case "stopping":
    case "upstream-fault":
      return LOST;
    case "upstream-failed":
      return { ofRelay: "failure", ofPool: "failure", isFatal: false, isOnes: true };
    case "exhausted":
      return { ...WELL, ofPool: "failure" };
    case "no-prefill":
    case "engine-timeout":
    case "unsigned":
    case "unknown-key":
    case "bad-signature":
    case "expired":
      return { ofRelay: "neutral", ofPool: "failure", isFatal: false };
    default:
      // About the one request, or of a newer relay.
      return NEUTRAL;
  }
}

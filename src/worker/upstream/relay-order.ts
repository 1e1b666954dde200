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
// A pool with one relay has one breaker, the pool's. Upstreams are judged as relays are; one that is full says
// so of itself, where a relay's 429 is its engine's word.

import type { RelayConfig, UpstreamConfig } from "../../config/deployment.ts";
import type { BreakerOutcome, BreakerPermit } from "../../scheduler/pools/breaker.ts";
import type { Breakers } from "../../scheduler/pools/breakers.ts";
import type { Rng } from "../../scheduler/support/rng.ts";
import type { RelayAnswer } from "./relay-fetch.ts";
import { saysFull } from "./upstream-fetch.ts";

/** One attempt, as breakers are told of it. */
export interface JudgedAttempt {
  readonly pool: string;
  /** Keys of all that the pool has, relays or upstreams. */
  readonly keys: readonly string[];
  /** Of the one that was asked, if any was. */
  readonly key: string | undefined;
  readonly isUpstream: boolean;
  /** Of the pool and the relay; undefined where it was made against the breaker's word. */
  readonly permits: Permits;
}

export interface Permits {
  readonly pool: BreakerPermit | undefined;
  readonly relay: BreakerPermit | undefined;
}

/** What breakers know a relay by: it is the same one in all pools that name it. */
export function relayKey({ url }: Pick<RelayConfig, "url">): string {
  return url;
}

/** What they know an upstream by. Two may differ in key or binding alone. */
export function upstreamKey(pool: string, { name }: Pick<UpstreamConfig, "name">): string {
  return `upstream:${pool}/${name}`;
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
  const rankOf = (relay: RelayConfig) => {
    if (breakers.state(relayKey(relay), nowMs) === "open") return 2;
    return breakers.isOverloaded(relayKey(relay), nowMs) ? 1 : 0;
  };
  return rotated.sort((a, b) => rankOf(a) - rankOf(b));
}

/** Asked right before an attempt at one `of` the pool's; one report of its end is to follow. */
export function acquireRelay(
  key: string,
  of: readonly unknown[],
  breakers: Breakers,
  nowMs: number,
): BreakerPermit | undefined {
  return of.length === 1 ? undefined : breakers.acquire(key, nowMs);
}

/** Tells the breakers how an attempt has ended. */
export function recordAttempt(
  { pool, keys, key, isUpstream, permits }: JudgedAttempt,
  answer: RelayAnswer,
  breakers: Breakers,
  at: { readonly nowMs: number; readonly rng: Rng },
): void {
  const { nowMs, rng } = at;
  const isFullUpstream = isUpstream && answer.kind === "answered" && saysFull(answer.response);
  const verdict = isFullUpstream ? NEUTRAL : verdictOn(answer);
  const { ofRelay, ofPool, isFatal, isOnes = isFatal } = verdict;
  const own = keys.length > 1 ? key : undefined;
  if (own !== undefined) {
    breakers.record(own, { permit: permits.relay, outcome: ofRelay, isFatal }, nowMs, rng);
  }
  const isFull = answer.kind === "declined" && FULL.has(answer.code);
  if (isFull || isFullUpstream) breakers.overloaded(own ?? pool, nowMs);
  // It was the last word that this pool had.
  if (isFullUpstream || (answer.kind === "answered" && answer.response.status === 429))
    breakers.overloaded(pool, nowMs);
  const hasOther = keys.some((each) => each !== key && breakers.state(each, nowMs) !== "open");
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

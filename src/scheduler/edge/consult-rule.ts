// Whether an isolate decides on a request alone, or asks the pool's object.
//
//   1  before the pick, what is certain at once      mode, object away, plugins, near, snapshot, queue, credit
//   2  after it, what the pick may have missed       gain > round trip / (1 + own work / PATIENCE_MS): ask
//
//   gain = cache + load                                                                   in ms
//   cache = (possible − known) × prefillMsPerToken
//   load  = uncached share × (ahead − min(age, ahead) / 2) × min(x, √x)
//           x = others' requests/s × work × min(1, age / ahead) / endpoints
//
// cache: `known` is what the pick took the chosen endpoint to hold. `possible` goes beyond it by the most that
// any endpoint may hold without the pick having known, by a digest without a false no: who chose by what he
// knew cannot have lost more. What other endpoints hold and are known to hold is no gain: the pick has weighed
// it, and the object would weigh it alike.
//
// load: what others have sent since the snapshot and no engine is done with yet. A prompt takes an engine `work`
// ms in the mean (uncached tokens × prefillMsPerToken); the one that an engine is at when somebody comes takes
// `ahead` ms, which is more, for long ones are met more often. So of the last `ahead` ms of dispatches x are at an
// endpoint in the mean, and were sent there half of the age ago. Asking avoids the endpoint that has got more than its share: with few (x < 1)
// the one that is there at all, with many those over the mean, which are about √x. It counts no herd: a pick spreads
// over endpoints (see unseen-dispatches.ts). Nor does it count for what is cached of the prompt: that part goes
// where it is, whoever decides.
//
// own work: a gain is a mean over many that meet nobody and a few that wait long. A long prompt is late by any such
// wait, and by the way to the object hardly more than it is; a short one the other way round.
//
// Where it is only the loads that are old, the request is sent all the same, on credit, and the object is asked meanwhile: it
// says where the request is better off by more than moving it costs (docs/decisions/068-sent-and-asked-meanwhile.md).
//
// A request of a priority below the default is always asked about where requests may have to wait: it is the
// first to be held back, and it is in no hurry.

import type { ConsultTerms, WhereReason } from "./contracts.ts";

/** To an object that is nearer one asks: nothing is saved, and the object decides with the freshest view. */
export const NEAR_MS = 5;
/** A snapshot that is older decides nothing while the object can be asked. */
export const SNAPSHOT_SERVES_MS = 2_000;
/** One that is older is renewed beside the requests it still serves. */
export const SNAPSHOT_RENEW_MS = 250;
/** While the object is away its last snapshot serves for so long. */
export const SNAPSHOT_SERVES_AWAY_MS = 60_000;
/** A pool that is fuller has its object decide: requests may have to wait there. */
export const SATURATION_LOCAL_MAX = 0.95;
/** Below the default priority: a pool that is fuller may hold them back. */
const SATURATION_SHEDDABLE_MAX = 0.5;

/** Own work with which asking is worth it for half of the round trip. */
const PATIENCE_MS = 400;

/** As a pool's configuration says, or whoever measures forces it. */
export type DecideMode = "auto" | "local" | "consult";

/** What is known before the pick. */
export interface WhereFacts {
  readonly mode: DecideMode;
  /** Its configuration has no plugin that only works in the object: see local-capable.ts. */
  readonly isLocalCapable: boolean;
  /** The object does not answer. */
  readonly isAway: boolean;
  readonly rttMs: number;
  /** Undefined without one. */
  readonly snapshot: SnapshotFacts | undefined;
  /** Tokens at hand, and those that the request takes. */
  readonly credit: number;
  readonly neededTokens: number;
  readonly priority: number;
}

/** What the rule goes by of a replica. */
export interface SnapshotFacts {
  readonly ageMs: number;
  readonly saturation: number;
  readonly waiting: number;
  readonly isHeld: boolean;
}

/** What the pick may have missed; a PoolReplica says it. */
export interface Missed {
  readonly knownTokens: number;
  readonly possibleTokens: number;
  /** Of the chosen endpoint. */
  readonly prefillMsPerToken: number;
  readonly loadMs: number;
  /** What computing the rest of the prompt will take in any case. */
  readonly ownMs: number;
}

const UNKNOWN_AGE_MS = -1;

/** The first step. `where` is `local` where nothing speaks against it: then the pick, and `afterPick`. */
export function decideWhere(facts: WhereFacts): ConsultTerms {
  const { rttMs, credit, snapshot } = facts;
  const reason = reasonOf(facts);
  return {
    where: LOCAL_REASONS.has(reason) ? "local" : "consult",
    reason,
    rttMs,
    snapshotAgeMs: snapshot?.ageMs ?? UNKNOWN_AGE_MS,
    credit,
    saturation: snapshot?.saturation ?? 1,
    knownTokens: 0,
    possibleTokens: 0,
    gainMs: 0,
  };
}

const LOCAL_REASONS: ReadonlySet<WhereReason> = new Set([
  "nothing-to-gain",
  "forced-local",
  "object-away",
]);

function reasonOf(facts: WhereFacts): WhereReason {
  const { mode, snapshot } = facts;
  if (mode === "consult" && !facts.isAway) return "forced-consult";
  if (!facts.isLocalCapable && !facts.isAway) return "not-local";
  if (mode === "auto" && !facts.isAway && facts.rttMs < NEAR_MS) return "near";
  if (snapshot === undefined) return "no-snapshot";
  if (facts.isAway) return snapshot.ageMs <= SNAPSHOT_SERVES_AWAY_MS ? "object-away" : "stale";
  if (snapshot.ageMs > SNAPSHOT_SERVES_MS) return "stale";
  if (snapshot.isHeld || snapshot.waiting > 0) return "held";
  if (facts.priority < 0 && snapshot.saturation > SATURATION_SHEDDABLE_MAX) return "held";
  if (snapshot.saturation > SATURATION_LOCAL_MAX) return "full";
  if (facts.credit < facts.neededTokens) return "no-credit";
  return mode === "local" ? "forced-local" : "nothing-to-gain";
}

/** The second step, with what the pick may have missed. Only `auto` comes to another end by it. */
export function afterPick(terms: ConsultTerms, missed: Missed): ConsultTerms {
  const { knownTokens, possibleTokens } = missed;
  const cacheMs = Math.max(0, possibleTokens - knownTokens) * missed.prefillMsPerToken;
  const gainMs = cacheMs + missed.loadMs;
  const told = { ...terms, knownTokens, possibleTokens, gainMs };
  const worthMs = terms.rttMs / (1 + missed.ownMs / PATIENCE_MS);
  if (terms.reason !== "nothing-to-gain" || gainMs <= worthMs) return told;
  // What asking is for: the larger part of it.
  const reason = cacheMs >= missed.loadMs ? "cache-elsewhere" : "stale";
  return { ...told, where: "consult", reason };
}

/**
 * The same after a pick that may be called off: where only loads are old it is sent, and asked about meanwhile. Who is likely to
 * hold more of the prompt would be moved to, and what was sent before computed for nothing.
 */
export function askingMeanwhile(terms: ConsultTerms): ConsultTerms {
  if (terms.where === "local" || terms.reason !== "stale") return terms;
  return { ...terms, where: "local", reason: "asked-meanwhile" };
}

/** What asking could save of waiting behind requests that the snapshot does not show; see above. */
export function unseenLoadMs(load: {
  readonly othersPerS: number;
  readonly ageMs: number;
  /** What a request keeps an engine busy with its prompt, in the mean. */
  readonly workMs: number;
  /** The same of the request that whoever comes finds at work. */
  readonly aheadMs: number;
  readonly endpoints: number;
}): number {
  const { othersPerS, ageMs, workMs, aheadMs, endpoints } = load;
  if (endpoints === 0 || !(aheadMs > 0)) return 0;
  const unseenMs = Math.min(aheadMs, Math.max(0, ageMs));
  const unseen = ((othersPerS / 1_000) * workMs * unseenMs) / aheadMs / endpoints;
  return (aheadMs - unseenMs / 2) * Math.min(unseen, Math.sqrt(unseen));
}

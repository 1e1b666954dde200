// The attempts at one pool: in each a pick and a relay, and until the first byte another one, after a
// pause, as long as the budgets for retries last and the pool's breaker does not open.
//
//   pick ── full, no endpoints, objects away ─► next pool, nothing was sent
//     │  └─ expired, client left … ───────────► refuse
//   relay ─ unreachable, stopping ────────────► next relay; the next pool where there is none, or else again
//     │  ├─ busy ─────────────────────────────► the same
//     │  ├─ too old for a rewritten model ────► next relay
//     │  ├─ every listed endpoint failed ─────► pick others
//     │  ├─ does not take our signature ──────► next pool
//     │  └─ evicted, or our own fault ────────► refuse
//   or, in a pool that has upstreams, the one that was picked
//     │  ├─ unreachable, failed ──────────────► pick others
//     │  ├─ full ─────────────────────────────► pick others, at once and for no retry: it has done nothing
//     │  └─ come round ───────────────────────► refuse
//   answer

import type { RelayConfig, UpstreamConfig } from "../../config/deployment.ts";
import type { PickRefusal, WorkerRelease } from "../../durable/contract.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";
import type { ModelRoute } from "../model-routes.ts";
import { dropError } from "../openai/errors.ts";
import type { Prepared } from "../parsers/parser.ts";
import { breakers } from "../pools/breakers.ts";
import { requestIdAt } from "../request-id.ts";
import { keyByTokens } from "../token-keys/token-keys.ts";
import type { PoolUnavailable } from "./ask-object.ts";
import { askUpstream, grantedUpstream, shunnedUpstreams } from "./ask-upstream.ts";
import { clientLeft, type Leg, type PoolOutcome } from "./job.ts";
import { type Picking, pickInPool, views } from "./pick-in-pool.ts";
import { type Send, sendAskedMeanwhile } from "./ask-meanwhile.ts";
import { claimOf } from "./pick-request.ts";
import type { Grant } from "./pool-picks.ts";
import type { PoolView } from "./pool-view.ts";
import { fetchRelay, type RelayAnswer, type RelayRequest } from "./relay-fetch.ts";
import {
  acquireRelay,
  orderRelays,
  type Permits,
  recordAttempt,
  relayKey,
  upstreamKey,
} from "./relay-order.ts";
import { type Met, nobodyLeft, refused, stopped } from "./pool-refusals.ts";
import { mayRetry } from "./retry-gate.ts";
import { settleAtEnd } from "./settled-answer.ts";

export const ATTEMPTS_PER_POOL_MAX = 3;

/** How a pool is to be tried. */
export interface PoolTry {
  readonly route: ModelRoute;
  /** Whether the request may wait in the pool's queue. */
  readonly waits: boolean;
  /** Another pool may answer as well: this one is left as soon as it is in trouble. */
  readonly hasOther: boolean;
  readonly attemptsMax: number;
  /** Endpoints not to be picked. */
  readonly exclude: readonly string[];
  /** Only what its object grants will do. */
  readonly needsObject?: boolean;
}

/** Where a request stands in one pool. */
interface Attempt extends Met, Picking {
  /** Of the pool: what it may cost. */
  readonly view: Pick<PoolView, "retries">;
  /** The first one is next. None in a pool that has upstreams. */
  readonly relays: RelayConfig[];
  /** Endpoints that a relay could not reach, and upstreams that did not answer. */
  readonly tried: string[];
  /** Nobody but upstreams that are lost or full could be picked: they are. */
  isAnyUsed: boolean;
}

/** `retry` is paid for; `step` is not, because nothing was sent, or was turned away at the door. */
type Next = "retry" | "step";

export async function tryPool(leg: Leg, how: PoolTry): Promise<PoolOutcome> {
  const { route, waits, hasOther } = how;
  const { pool } = route;
  const { name } = pool.config;
  const { facts } = leg.telemetry;
  facts.pool = name;
  noteModel(leg, route);
  leg.call.requestId = requestIdAt(leg.call.requestId, pool.tag);
  const claim = claimOf(leg.headers, pool, leg.tenant);
  facts.priority = claim.priority;
  const view = views.of(name);
  if (!leg.paid.has(name)) view.retries.deposit();
  leg.paid.add(name);
  const nowMs = Date.now();
  const relays = orderRelays(pool.config.relays, breakers, nowMs, Math.random);
  const isAnswered = relays.length > 0 || pool.config.upstreams.length > 0;
  const prepared = await prepare(leg, route, relays);
  const at = {
    pool,
    prepared,
    claim,
    view,
    relays,
    tried: [...how.exclude],
    waits,
    hasOther,
    needsObject: how.needsObject,
    isAnyUsed: false,
    hasFailed: false,
    fullForMs: undefined,
  };
  let next: Next = "step";
  for (let retry = 0; retry < how.attemptsMax && isAnswered; retry++) {
    if (hasOther && breakers.state(name, Date.now()) === "open") break;
    if (next === "retry" && !(await mayRetry(view, retry, leg))) break;
    if (leg.signal.aborted) return clientLeft();
    const poolPermit = breakers.acquire(name, Date.now());
    if (hasOther && poolPermit === undefined) break;
    const [first] = relays;
    const relayPermit =
      first && acquireRelay(relayKey(first), pool.config.relays, breakers, Date.now());
    const outcome = await tryRelay(leg, at, { pool: poolPermit, relay: relayPermit });
    if (typeof outcome !== "string") return outcome;
    next = outcome;
    at.hasFailed ||= next === "retry";
  }
  if (leg.signal.aborted) return clientLeft();
  return nobodyLeft(at, "refused");
}

/** The request as the pool's engines are to see it, with keys of the kind that the pool knows prefixes by. */
async function prepare(
  leg: Leg,
  { pool, model }: ModelRoute,
  relays: readonly RelayConfig[],
): Promise<Prepared> {
  const prepared = await leg.prepare(model);
  const { name, prefixKeys } = pool.config;
  const [relay] = relays;
  if (prefixKeys?.kind !== "tokens" || relay === undefined) return prepared;
  return keyByTokens(prepared, prefixKeys, {
    pool: name,
    relay,
    tenant: leg.tenant.id,
    requestId: leg.call.requestId,
    trace: leg.telemetry.trace,
    bindings: leg.bindings,
    signal: leg.signal,
    hold: leg.hold,
  });
}

function noteModel({ telemetry: { facts } }: Leg, { model, rewrite }: ModelRoute): void {
  facts.targetModel = model;
  if (rewrite === null) return;
  const labels = {
    model_rewrite_name: rewrite,
    model_name: facts.model ?? "",
    target_model: model,
  };
  metrics.inc(METRIC.modelRewriteDecisionsTotal, labels);
}

/** One pick and one relay. What failed is noted in `at` for the next attempt. */
async function tryRelay(leg: Leg, at: Attempt, permits: Permits): Promise<PoolOutcome | Next> {
  const { facts } = leg.telemetry;
  const attempt = leg.nextAttempt();
  const shunned = at.isAnyUsed ? [] : shunnedUpstreams(at.pool, at.tried, breakers, Date.now());
  const exclude = [...at.tried, ...shunned];
  const picked = await pickInPool(leg, at, { exclude, attempt });
  if (!picked.ok) {
    record(at, permits, NOT_SENT);
    facts.detail = picked.detail;
    at.isAnyUsed = shunned.length > 0 && picked.reason === "rejected-no-endpoints";
    return at.isAnyUsed ? "step" : notGranted(picked, at);
  }
  facts.decided = decidedBy(picked);
  if (picked.terms.reason === "object-away") metrics.inc(METRIC.snapshotPicksTotal, {});
  let grant: Grant = picked;
  let isKept = false;
  try {
    leg.dispatched?.(at.pool.config.name);
    leg.watch?.sent(grant, at.pool.config.name);
    const sentAtMs = Date.now();
    const upstream = grantedUpstream(at.pool, grant);
    const held = upstream === undefined ? permits : upstreamPermits(at, permits, upstream);
    const send: Send = (by, number, signal) =>
      ask(leg, at, by, { attempt: number, upstream, exclude, signal });
    const { signal, hold } = leg;
    const asked = { attempt, send, signal, hold };
    const served = grant.meanwhile && (await sendAskedMeanwhile(grant, grant.meanwhile, asked));
    if (served?.isMoved === true) noteMoved(facts, (grant = served.grant));
    const answer = served?.answer ?? (await send(grant, attempt, signal));
    leg.watch?.ended(answer);
    record(at, held, answer, upstream);
    facts.endpointsTried += answer.endpointsTried;
    if (answer.kind === "answered") {
      isKept = true;
      const { response, endpoint } = answer;
      const isRefusal = REFUSALS.has(response.status);
      if (upstream === undefined) return { ok: true, response, endpoint, grant, isRefusal };
      const { settled, ...answered } = settleAtEnd(response, grant, sentAtMs);
      leg.hold(settled);
      return { ok: true, ...answered, endpoint, isRefusal };
    }
    const next = judge(answer, at);
    grant.release(releaseOf(answer, upstream !== undefined));
    if (next === "stop") return stopped(leg, answer);
    facts.detail = answer.kind === "declined" ? answer.code : answer.kind;
    if (next === "other-pool") return refused("relay_refused", "failed");
    if (next === "other-relay" && at.relays.length > 1) at.relays.shift();
    else if (next === "other-relay" && at.hasOther)
      return refused("upstream_unavailable", "failed");
    else if (next === "other-endpoints")
      at.tried.push(...(upstream === undefined ? grant.endpoints : [upstream.name]));
    if (answer.kind !== "declined" || answer.code !== "upstream-full") return "retry";
    at.fullForMs = answer.retryAfterMs;
    return "step";
  } finally {
    if (!isKept) grant[Symbol.dispose]();
  }
}

/** An engine that is full, or something before it that cannot reach it. */
const REFUSALS: ReadonlySet<number> = new Set([429, 502, 503]);
const NOT_SENT: RelayAnswer = { kind: "cancelled", endpointsTried: 0 };

const GONE = {
  kind: "declined",
  code: "upstream-gone",
  retryAfterMs: 0,
  endpointsTried: 0,
} as const;

interface Asked {
  readonly attempt: number;
  readonly upstream: UpstreamConfig | undefined;
  readonly exclude: readonly string[];
  /** Aborted when the client leaves, or what was sent is called off. */
  readonly signal: AbortSignal;
}

function ask(
  leg: Leg,
  at: Attempt,
  grant: Grant,
  { attempt, upstream, exclude, signal }: Asked,
): Promise<RelayAnswer> {
  if (upstream !== undefined) return askUpstream(leg, { ...at, exclude }, upstream);
  // The object and this isolate may know different configurations for a moment.
  if (at.relays.length === 0) return Promise.resolve(GONE);
  return fetchRelay(relayRequest(leg, at, grant, { attempt, signal }));
}

function decidedBy({ terms: { where, reason } }: Grant): string {
  return `${where}:${reason}`;
}

/** What was sent first has been tried, too. */
function noteMoved(facts: Leg["telemetry"]["facts"], grant: Grant): void {
  facts.decided = decidedBy(grant);
  facts.attempts += 1;
  facts.endpointsTried += 1;
}

function upstreamPermits({ pool }: Attempt, permits: Permits, upstream: UpstreamConfig): Permits {
  const { name, upstreams } = pool.config;
  const relay = acquireRelay(upstreamKey(name, upstream), upstreams, breakers, Date.now());
  return { ...permits, relay };
}

/** Nobody but this Worker says what became of a ticket at an upstream. */
function releaseOf(answer: RelayAnswer, isUpstreams: boolean): WorkerRelease {
  // It may go on computing for a client that has left.
  if (answer.kind === "cancelled") return isUpstreams ? "unmetered" : "cancelled";
  return isUpstreams && answer.kind === "declined" ? "refused" : "relay-unreachable";
}

function record(
  { pool, relays }: Attempt,
  permits: Permits,
  answer: RelayAnswer,
  upstream?: UpstreamConfig,
): void {
  const { name, relays: all, upstreams } = pool.config;
  const isUpstream = upstreams.length > 0;
  const keys = isUpstream ? upstreams.map((each) => upstreamKey(name, each)) : all.map(relayKey);
  const asked = upstream && upstreamKey(name, upstream);
  const key = asked ?? (relays[0] && relayKey(relays[0]));
  const attempt = { pool: name, keys, key, isUpstream, permits };
  recordAttempt(attempt, answer, breakers, { nowMs: Date.now(), rng: Math.random });
}

function notGranted(grant: PickRefusal | PoolUnavailable, at: Attempt): PoolOutcome {
  if (grant.reason === "unavailable") return refused("pool_unavailable", "refused");
  // What was excluded has failed a moment ago: that is a failure, not an empty pool.
  const isEmpty = grant.reason === "rejected-no-endpoints";
  if (isEmpty && at.tried.length > 0) return nobodyLeft(at, "failed");
  const error = dropError(grant.reason, grant.retryAfterMs);
  if (grant.reason === "rejected-saturated") return { ok: false, error, why: "full" };
  const isElsewhere = isEmpty || grant.reason === "rejected-shutting-down";
  return { ok: false, error, why: isElsewhere ? "refused" : "final" };
}

function relayRequest(
  leg: Leg,
  at: Attempt,
  grant: Grant,
  { attempt, signal }: Pick<Asked, "attempt" | "signal">,
): RelayRequest {
  return {
    relay: at.relays[0]!,
    hasOther: at.hasOther || at.relays.length > 1,
    rttMs: at.pool.config.rttMs,
    prepared: at.prepared,
    grant,
    attempt,
    tenant: leg.tenant.id,
    requestId: leg.call.requestId,
    trace: leg.telemetry.trace,
    tracestate: leg.call.tracestate,
    signal,
  };
}

type Where = "other-relay" | "other-endpoints" | "pick-again" | "other-pool" | "stop";

/** What a relay's word means for the next attempt. */
function judge(
  answer: Exclude<RelayAnswer, { kind: "answered" }>,
  { prepared, relays }: Pick<Attempt, "prepared" | "relays">,
): Where {
  if (answer.kind === "cancelled") return "stop";
  if (answer.kind === "unreachable") return relays.length === 0 ? "other-endpoints" : "other-relay";
  switch (answer.code) {
    case "busy":
    case "stopping":
      return "other-relay";
    case "exhausted":
    case "off-list":
    case "upstream-full":
    case "upstream-failed":
    case "upstream-fault":
    case "upstream-gone":
      return "other-endpoints";
    case "no-prefill":
      // Not the fault of those that were to decode: they may be all there are.
      return "pick-again";
    case "bad-signature":
      // A relay from before rewrites does not sign the client's model; a newer one beside it does.
      if (prepared.clientModel !== undefined && relays.length > 1) return "other-relay";
      return "other-pool";
    case "unsigned":
    case "unknown-key":
    case "expired":
      // It goes for the whole pool, most likely, and no engine has seen anything.
      return "other-pool";
    default:
      // Codes of a newer relay, too: what is not known to be safe to repeat is not repeated.
      return "stop";
  }
}

// The attempts at one pool: in each a pick and a relay, and until the first byte another one, after a
// pause, as long as the budgets for retries last and the pool's breaker does not open.
//
//   pick ── full, no endpoints, object away ──► next pool, nothing was sent
//     │  └─ expired, client left … ───────────► refuse
//   relay ─ unreachable, stopping ────────────► next relay; the next pool where there is none, or else again
//     │  ├─ busy ─────────────────────────────► the same
//     │  ├─ too old for a rewritten model ────► next relay
//     │  ├─ every listed endpoint failed ─────► pick others
//     │  ├─ does not take our signature ──────► next pool
//     │  └─ evicted, or our own fault ────────► refuse
//   or, in a pool that has upstreams, the one that was picked
//     │  ├─ unreachable, full, failed ────────► pick others
//     │  └─ come round ───────────────────────► refuse
//   answer

import { poolAddress } from "../../config/pool-address.ts";
import type { RelayConfig, UpstreamConfig } from "../../config/deployment.ts";
import type { PickRefusal, WorkerRelease } from "../../durable/contract.ts";
import type { ResolvedObjective } from "../../scheduler/flow-control/objectives.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Pool } from "../directory-index.ts";
import { metrics } from "../metrics.ts";
import type { ModelRoute } from "../model-routes.ts";
import { dropError } from "../openai/errors.ts";
import type { Prepared } from "../parsers/parser.ts";
import { breakers } from "../pools/breakers.ts";
import { requestIdAt } from "../request-id.ts";
import { keyByTokens } from "../token-keys/token-keys.ts";
import type { PoolUnavailable } from "./ask-object.ts";
import { askUpstream, grantedUpstream, openUpstreams } from "./ask-upstream.ts";
import { askForCapacity } from "./capacity-webhook.ts";
import { clientLeft, type Leg, type PoolOutcome } from "./job.ts";
import { claimOf, pickRequest } from "./pick-request.ts";
import { type Grant, type PickContext, pickEndpoints } from "./pool-picks.ts";
import { type PoolView, PoolViews } from "./pool-view.ts";
import { fetchRelay, type RelayAnswer, type RelayRequest } from "./relay-fetch.ts";
import { acquireRelay, orderRelays, recordAttempt, type Permits } from "./relay-order.ts";
import { mayRetry } from "./retry-gate.ts";
import { settleAtEnd } from "./settled-answer.ts";
import { WaitingBodies } from "./waiting-bodies.ts";

export const ATTEMPTS_PER_POOL_MAX = 3;

export const views = new PoolViews();
const bodies = new WaitingBodies();

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
}

/** Where a request stands in one pool. */
interface Attempt {
  readonly pool: Pool;
  readonly prepared: Prepared;
  readonly claim: ResolvedObjective;
  readonly view: PoolView;
  /** The first one is next. None in a pool that has upstreams. */
  readonly relays: RelayConfig[];
  /** Endpoints that a relay could not reach, and upstreams that did not answer. */
  readonly exclude: string[];
  readonly waits: boolean;
  readonly hasOther: boolean;
}

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
  view.retries.deposit();
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
    exclude: [...how.exclude, ...openUpstreams(pool, breakers, nowMs)],
    waits,
    hasOther,
  };
  let hasSent = false;
  for (let retry = 0; retry < how.attemptsMax && isAnswered; retry++) {
    if (hasOther && breakers.state(name, Date.now()) === "open") break;
    if (retry > 0 && !(await mayRetry(view, retry, leg))) break;
    if (leg.signal.aborted) return clientLeft();
    const poolPermit = breakers.acquire(name, Date.now());
    if (hasOther && poolPermit === undefined) break;
    const [first] = relays;
    const relayPermit = first && acquireRelay(first, pool.config.relays, breakers, Date.now());
    const outcome = await tryRelay(leg, at, { pool: poolPermit, relay: relayPermit });
    if (outcome !== "retry") return outcome;
    hasSent = true;
  }
  if (leg.signal.aborted) return clientLeft();
  return refused("upstream_unavailable", hasSent ? "failed" : "refused");
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
async function tryRelay(leg: Leg, at: Attempt, permits: Permits): Promise<PoolOutcome | "retry"> {
  const { facts } = leg.telemetry;
  const attempt = leg.nextAttempt();
  const request = pickRequest({ ...leg, ...at, attempt });
  const grant = await pickEndpoints(request, pickContext(leg, at));
  if (!grant.ok) {
    record(at, permits, NOT_SENT);
    facts.detail = grant.detail;
    return notGranted(grant, at);
  }
  if (grant.isFromSnapshot) {
    metrics.inc(METRIC.snapshotPicksTotal, {});
    facts.detail = "from the snapshot";
  }
  let isKept = false;
  try {
    leg.dispatched?.(at.pool.config.name);
    leg.watch?.sent(grant, at.pool.config.name);
    const sentAtMs = Date.now();
    const upstream = grantedUpstream(at.pool, grant);
    const held = upstream === undefined ? permits : upstreamPermits(at, permits, upstream);
    const answer = await ask(leg, at, grant, { attempt, upstream });
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
    if (next === "stop") return stop(leg, answer);
    facts.detail = answer.kind === "declined" ? answer.code : answer.kind;
    if (next === "other-pool") return refused("relay_refused", "failed");
    if (next === "other-relay" && at.relays.length > 1) at.relays.shift();
    else if (next === "other-relay" && at.hasOther)
      return refused("upstream_unavailable", "failed");
    else if (next === "other-endpoints")
      at.exclude.push(...(upstream === undefined ? grant.endpoints : [upstream.name]));
    return "retry";
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

function ask(
  leg: Leg,
  at: Attempt,
  grant: Grant,
  { attempt, upstream }: { attempt: number; upstream: UpstreamConfig | undefined },
): Promise<RelayAnswer> {
  if (upstream !== undefined) return askUpstream(leg, at, upstream);
  // The object and this isolate may know different configurations for a moment.
  if (at.relays.length === 0) return Promise.resolve(GONE);
  return fetchRelay(relayRequest(leg, at, grant, attempt));
}

function upstreamPermits({ pool }: Attempt, permits: Permits, upstream: UpstreamConfig): Permits {
  const relay = acquireRelay(upstream, pool.config.upstreams, breakers, Date.now());
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
  const answerers = upstreams.length > 0 ? upstreams : all;
  const attempt = { pool: name, relays: answerers, relay: upstream ?? relays[0], permits };
  recordAttempt(attempt, answer, breakers, { nowMs: Date.now(), rng: Math.random });
}

function notGranted(grant: PickRefusal | PoolUnavailable, at: Attempt): PoolOutcome {
  if (grant.reason === "unavailable") return refused("pool_unavailable", "refused");
  // What was excluded has failed a moment ago: that is a failure, not an empty pool.
  const isEmpty = grant.reason === "rejected-no-endpoints";
  if (isEmpty && at.exclude.length > 0) return refused("upstream_unavailable", "failed");
  const error = dropError(grant.reason, grant.retryAfterMs);
  if (grant.reason === "rejected-saturated") return { ok: false, error, why: "full" };
  const isElsewhere = isEmpty || grant.reason === "rejected-shutting-down";
  return { ok: false, error, why: isElsewhere ? "refused" : "final" };
}

function pickContext(leg: Leg, { pool, prepared, view, hasOther }: Attempt): PickContext {
  const { name, capacityWebhook } = pool.config;
  const address = poolAddress(pool.config);
  const { facts } = leg.telemetry;
  return {
    port: () => leg.port(address),
    view,
    hasQueue: pool.hasQueue,
    hasOther,
    signal: leg.signal,
    hold: leg.hold,
    bodies,
    waited: (waitMs) => (facts.queueMs = (facts.queueMs ?? 0) + waitMs),
    askForCapacity() {
      if (capacityWebhook === undefined) return;
      const at = new Date().toISOString();
      const ask = { pool: name, model: prepared.model, reason: "no-endpoints", at } as const;
      leg.hold(askForCapacity(capacityWebhook, ask));
    },
  };
}

function relayRequest(leg: Leg, at: Attempt, grant: Grant, attempt: number): RelayRequest {
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
    signal: leg.signal,
  };
}

type Next = "other-relay" | "other-endpoints" | "pick-again" | "other-pool" | "stop";

/** What a relay's word means for the next attempt. */
function judge(
  answer: Exclude<RelayAnswer, { kind: "answered" }>,
  { prepared, relays }: Pick<Attempt, "prepared" | "relays">,
): Next {
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

function stop({ telemetry }: Leg, answer: Exclude<RelayAnswer, { kind: "answered" }>): PoolOutcome {
  if (answer.kind !== "declined") return clientLeft();
  telemetry.facts.detail = answer.code;
  if (answer.code === "evicted") {
    // For a request of a higher priority, which is there in every pool of the model: it waits its turn.
    return { ok: false, error: dropError("evicted", answer.retryAfterMs), why: "final" };
  }
  if (answer.code === "upstream-loop") {
    const error = { code: "loop_detected", message: LOOP, param: null, retryAfterS: null } as const;
    return { ok: false, error, why: "final" };
  }
  return refused(answer.code === "engine-timeout" ? "engine_timeout" : "relay_refused", "final");
}

const LOOP =
  "The request has come round: the deployments that serve this model pass it to each other. The operator must change their upstreams.";
const MESSAGES = {
  pool_unavailable: "The pool that serves this model did not answer in time. Retry.",
  upstream_unavailable: "No engine could be reached for this request. Retry.",
  engine_timeout: "The engine did not begin to answer in time. Retry later, or ask for less.",
  relay_refused:
    "The cluster's relay did not accept the request. The operator finds the reason in the log, by the request id.",
} as const;

function refused(
  code: keyof typeof MESSAGES,
  why: Extract<PoolOutcome, { ok: false }>["why"],
): PoolOutcome {
  return { ok: false, error: { code, message: MESSAGES[code], param: null }, why };
}

// A prepared request to an engine's answer: pools in order, in each a pick, a relay, and until the
// first byte another try, after a pause, as long as the pool's retry budget lasts.
//
//   for each pool (POOLS_TRIED_MAX)
//     for each attempt (ATTEMPTS_PER_POOL_MAX)
//       pick ── no endpoints, object unavailable ──► next pool
//         │  └─ full, expired, client left … ──────► refuse
//       relay ─ unreachable, busy, stopping ───────► next relay, or the only one again
//         │  ├─ too old for a rewritten model ──────► next relay
//         │  ├─ every listed endpoint failed ──────► pick others
//         │  └─ evicted, or our own fault ─────────► refuse
//       answer

import type { PoolPort } from "../../durable/contract.ts";
import type { ResolvedObjective } from "../../scheduler/flow-control/objectives.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { RelayConfig } from "../../config/deployment.ts";
import { type PoolAddress, poolAddress } from "../../config/pool-address.ts";
import type { Pool } from "../directory-index.ts";
import type { Tenant } from "../tenant.ts";
import type { Call } from "../call.ts";
import { metrics } from "../metrics.ts";
import type { ModelRoute } from "../model-routes.ts";
import { type ApiError, dropError } from "../openai/errors.ts";
import type { Preparation } from "../parsers/preparation.ts";
import type { Prepared } from "../parsers/parser.ts";
import { requestIdAt } from "../request-id.ts";
import type { RequestTelemetry } from "../telemetry.ts";
import type { FileBindings } from "../token-keys/model-files.ts";
import { keyByTokens } from "../token-keys/token-keys.ts";
import { askForCapacity } from "./capacity-webhook.ts";
import { claimOf, pickRequest } from "./pick-request.ts";
import { type Grant, type PickContext, pickEndpoints } from "./pool-picks.ts";
import { type PoolView, PoolViews } from "./pool-view.ts";
import { fetchRelay, type RelayAnswer, type RelayRequest } from "./relay-fetch.ts";
import { RelayMarks } from "./relay-order.ts";
import { WaitingBodies } from "./waiting-bodies.ts";

export const POOLS_TRIED_MAX = 3;
export const ATTEMPTS_PER_POOL_MAX = 3;
/** The pause before a retry is anything below this, doubled with each retry: full jitter. */
export const RETRY_PAUSE_BASE_MS = 25;

const marks = new RelayMarks();
const views = new PoolViews();
const bodies = new WaitingBodies();

export interface Job {
  readonly call: Call;
  readonly telemetry: RequestTelemetry;
  readonly tenant: Tenant;
  /** Unix ms at which its body was complete: a slow upload is no wait in a queue. */
  readonly receivedAtMs: number;
  /** The share of the tenant of this id; undefined for what is no tenant's id. */
  readonly weightOf: (tenantId: string) => number | undefined;
  /** The request as a pool's engines are to see it. */
  readonly prepare: Preparation;
  /** In the order to try them; at least one. */
  readonly routes: readonly ModelRoute[];
  /** The client's. */
  readonly headers: Pick<Headers, "get">;
  /** Where models' files may be, for pools that have prompts tokenized here. */
  readonly bindings: FileBindings;
  /** A fresh way to a pool's object. */
  readonly port: (pool: PoolAddress) => PoolPort;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  /** Keeps the request's context alive for work that its answer does not wait for. Never rejects. */
  readonly hold: (work: Promise<void>) => void;
}

export type Dispatched =
  | {
      readonly ok: true;
      readonly response: Response;
      readonly endpoint: string;
      /** Dispose it when the answer has ended: until then it guards the ticket. */
      readonly grant: Grant;
    }
  | { readonly ok: false; readonly error: ApiError };

type Refused = Extract<Dispatched, { ok: false }>;
/** `isFinal`: no other pool would answer otherwise. */
type PoolOutcome = Extract<Dispatched, { ok: true }> | (Refused & { readonly isFinal: boolean });

/** Finds somebody to answer. Expected failures are values. */
export async function dispatch(job: Job): Promise<Dispatched> {
  let outcome: PoolOutcome | undefined;
  const routes = job.routes.slice(0, POOLS_TRIED_MAX);
  for (const route of routes) {
    outcome = await tryPool(job, route, route === routes.at(-1));
    if (outcome.ok || outcome.isFinal) return outcome;
  }
  return outcome!;
}

async function tryPool(job: Job, route: ModelRoute, isLastPool: boolean): Promise<PoolOutcome> {
  const { pool } = route;
  const { name } = pool.config;
  job.telemetry.facts.pool = name;
  noteModel(job.telemetry, route);
  job.call.requestId = requestIdAt(job.call.requestId, pool.tag);
  const claim = claimOf(job.headers, pool, job.tenant);
  job.telemetry.facts.priority = claim.priority;
  const view = views.of(name);
  view.retries.deposit();
  const relays = marks.order(pool.config.relays, Date.now(), Math.random());
  const prepared = await prepare(job, route, relays);
  const exclude: string[] = [];
  for (let retry = 0; retry < ATTEMPTS_PER_POOL_MAX && relays.length > 0; retry++) {
    if (retry > 0 && !(await mayRetry(view, retry, job))) break;
    if (job.signal.aborted) return clientLeft();
    const at = { pool, prepared, claim, view, relays, exclude, isLastPool };
    const outcome = await tryRelay(job, at);
    if (outcome !== "retry") return outcome;
  }
  return job.signal.aborted ? clientLeft() : refused("upstream_unavailable");
}

/** The request as the pool's engines are to see it, with keys of the kind that the pool knows prefixes by. */
async function prepare(
  job: Job,
  { pool, model }: ModelRoute,
  relays: readonly RelayConfig[],
): Promise<Prepared> {
  const prepared = await job.prepare(model);
  const { name, prefixKeys } = pool.config;
  const [relay] = relays;
  if (prefixKeys?.kind !== "tokens" || relay === undefined) return prepared;
  return keyByTokens(prepared, prefixKeys, {
    pool: name,
    relay,
    tenant: job.tenant.id,
    requestId: job.call.requestId,
    trace: job.telemetry.trace,
    bindings: job.bindings,
    signal: job.signal,
    hold: job.hold,
  });
}

function noteModel({ facts }: RequestTelemetry, { model, rewrite }: ModelRoute): void {
  facts.targetModel = model;
  if (rewrite === null) return;
  const labels = {
    model_rewrite_name: rewrite,
    model_name: facts.model ?? "",
    target_model: model,
  };
  metrics.inc(METRIC.modelRewriteDecisionsTotal, labels);
}

/** Where a request stands in one pool. */
interface Attempt {
  readonly pool: Pool;
  readonly prepared: Prepared;
  readonly claim: ResolvedObjective;
  readonly view: PoolView;
  /** The first one is next. */
  readonly relays: RelayConfig[];
  /** Endpoints that a relay could not reach. */
  readonly exclude: string[];
  readonly isLastPool: boolean;
}

/** One pick and one relay. What failed is noted in `at` for the next attempt. */
async function tryRelay(job: Job, at: Attempt): Promise<PoolOutcome | "retry"> {
  const { facts } = job.telemetry;
  const attempt = ++facts.attempts;
  const request = pickRequest({ ...job, ...at, attempt });
  const grant = await pickEndpoints(request, pickContext(job, at));
  if (!grant.ok) {
    facts.detail = grant.detail;
    if (grant.reason === "unavailable") return refused("pool_unavailable");
    const isEmpty = grant.reason === "rejected-no-endpoints";
    // What was excluded has failed a moment ago: that is a failure, not an empty pool.
    if (isEmpty && at.exclude.length > 0) return refused("upstream_unavailable");
    return { ok: false, error: dropError(grant.reason, grant.retryAfterMs), isFinal: !isEmpty };
  }
  if (grant.isFromSnapshot) {
    metrics.inc(METRIC.snapshotPicksTotal, {});
    facts.detail = "from the snapshot";
  }
  let isKept = false;
  try {
    const answer = await fetchRelay(relayRequest(job, at, grant, attempt));
    facts.endpointsTried += answer.endpointsTried;
    if (answer.kind === "answered") {
      isKept = true;
      return { ok: true, response: answer.response, endpoint: answer.endpoint, grant };
    }
    const next = judge(answer, at);
    grant.release(answer.kind === "cancelled" ? "cancelled" : "relay-unreachable");
    if (next === "stop") return stop(job, answer);
    facts.detail = answer.kind === "declined" ? answer.code : answer.kind;
    if (next === "other-relay") passOver(at.relays);
    else if (next === "other-endpoints") at.exclude.push(...grant.endpoints);
    return "retry";
  } finally {
    if (!isKept) grant[Symbol.dispose]();
  }
}

function pickContext(job: Job, { pool, prepared, view }: Attempt): PickContext {
  const { name, capacityWebhook } = pool.config;
  const address = poolAddress(pool.config);
  const { facts } = job.telemetry;
  return {
    port: () => job.port(address),
    view,
    hasQueue: pool.hasQueue,
    signal: job.signal,
    hold: job.hold,
    bodies,
    waited: (waitMs) => (facts.queueMs = (facts.queueMs ?? 0) + waitMs),
    askForCapacity() {
      if (capacityWebhook === undefined) return;
      const at = new Date().toISOString();
      const ask = { pool: name, model: prepared.model, reason: "no-endpoints", at } as const;
      job.hold(askForCapacity(capacityWebhook, ask));
    },
  };
}

/** Marks the relay. The next one takes its place, or it gets another chance if it is the only one. */
function passOver(relays: RelayConfig[]): void {
  marks.mark(relays[0]!.url, Date.now());
  if (relays.length > 1) relays.shift();
}

/** Takes a retry out of the pool's budget and waits before it. False: no retry. */
async function mayRetry(view: PoolView, retry: number, job: Job): Promise<boolean> {
  if (job.signal.aborted || !view.retries.tryWithdraw()) return false;
  metrics.inc(METRIC.workerRetriesTotal, {});
  const pauseMs = Math.random() * RETRY_PAUSE_BASE_MS * 2 ** retry;
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
  return true;
}

function relayRequest(job: Job, at: Attempt, grant: Grant, attempt: number): RelayRequest {
  return {
    relay: at.relays[0]!,
    prepared: at.prepared,
    grant,
    attempt,
    tenant: job.tenant.id,
    requestId: job.call.requestId,
    trace: job.telemetry.trace,
    tracestate: job.call.tracestate,
    signal: job.signal,
  };
}

/** What a relay's word means for the next attempt. */
function judge(
  answer: Exclude<RelayAnswer, { kind: "answered" }>,
  { prepared, relays }: Pick<Attempt, "prepared" | "relays">,
): "other-relay" | "other-endpoints" | "pick-again" | "stop" {
  if (answer.kind === "cancelled") return "stop";
  if (answer.kind === "unreachable") return "other-relay";
  switch (answer.code) {
    case "busy":
    case "stopping":
      return "other-relay";
    case "exhausted":
    case "off-list":
      return "other-endpoints";
    case "no-prefill":
      // Not the fault of those that were to decode: they may be all there are.
      return "pick-again";
    case "bad-signature":
      // A relay from before rewrites does not sign the client's model; a newer one beside it does.
      return prepared.clientModel !== undefined && relays.length > 1 ? "other-relay" : "stop";
    default:
      // Codes of a newer relay, too: what is not known to be safe to repeat is not repeated.
      return "stop";
  }
}

function stop(job: Job, answer: Exclude<RelayAnswer, { kind: "answered" }>): PoolOutcome {
  if (answer.kind !== "declined") return clientLeft();
  job.telemetry.facts.detail = answer.code;
  if (answer.code === "evicted") {
    // For a request of a higher priority, which is there in every pool of the model: it waits its turn.
    return { ok: false, error: dropError("evicted", answer.retryAfterMs), isFinal: true };
  }
  const code = answer.code === "engine-timeout" ? "engine_timeout" : "relay_refused";
  return { ...refused(code), isFinal: true };
}

function clientLeft(): PoolOutcome {
  return { ok: false, error: dropError("rejected-context-cancelled", 0), isFinal: true };
}

const MESSAGES = {
  pool_unavailable: "The pool that serves this model did not answer in time. Retry.",
  upstream_unavailable: "No engine could be reached for this request. Retry.",
  engine_timeout: "The engine did not begin to answer in time. Retry later, or ask for less.",
  relay_refused:
    "The cluster's relay did not accept the request. The operator finds the reason in the log, by the request id.",
} as const;

function refused(code: keyof typeof MESSAGES): Refused & { readonly isFinal: boolean } {
  return { ok: false, error: { code, message: MESSAGES[code], param: null }, isFinal: false };
}

// A prepared request to an engine's answer: pools in order, in each a pick, a relay, and until the
// first byte another try.
//
//   for each pool (POOLS_TRIED_MAX)
//     for each attempt (ATTEMPTS_PER_POOL_MAX)
//       pick ── no endpoints, object unavailable ──► next pool
//         │  └─ saturated, expired … ──────────────► refuse
//       relay ─ unreachable, busy, stopping ───────► next relay
//         │  └─ every listed endpoint failed ──────► pick others
//         │  └─ declined for our own fault ────────► refuse
//       answer

import type { PickRequest } from "../../durable/contract.ts";
import type { Tenant, Pool } from "../directory-index.ts";
import type { Call } from "../call.ts";
import { type ApiError, dropError } from "../openai/errors.ts";
import type { Prepared } from "../openai/prepare.ts";
import { requestIdAt } from "../request-id.ts";
import type { RequestTelemetry } from "../telemetry.ts";
import { type OpeningHandle, PoolSession } from "./pool-session.ts";
import { fetchRelay, type RelayAnswer } from "./relay-fetch.ts";
import { RelayMarks } from "./relay-order.ts";

export const POOLS_TRIED_MAX = 3;
export const ATTEMPTS_PER_POOL_MAX = 2;

const marks = new RelayMarks();

export interface Job {
  readonly call: Call;
  readonly telemetry: RequestTelemetry;
  readonly tenant: Tenant;
  readonly prepared: Prepared;
  /** In the order to try them; at least one. */
  readonly pools: readonly Pool[];
  /** Opens a handle on the pool of this name. */
  readonly open: (pool: string) => OpeningHandle;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

export type Dispatched =
  | {
      readonly ok: true;
      readonly response: Response;
      readonly endpoint: string;
      /** Dispose it when the answer has ended: until then it guards the ticket. */
      readonly session: PoolSession;
    }
  | { readonly ok: false; readonly error: ApiError };

type Refused = Extract<Dispatched, { ok: false }>;
/** `isFinal`: no other pool would answer otherwise. */
type PoolOutcome = Extract<Dispatched, { ok: true }> | (Refused & { readonly isFinal: boolean });

/** Finds somebody to answer. Expected failures are values. */
export async function dispatch(job: Job): Promise<Dispatched> {
  let outcome: PoolOutcome | undefined;
  for (const pool of job.pools.slice(0, POOLS_TRIED_MAX)) {
    outcome = await tryPool(job, pool);
    if (outcome.ok || outcome.isFinal) return outcome;
  }
  return outcome!;
}

async function tryPool(job: Job, pool: Pool): Promise<PoolOutcome> {
  const { name } = pool.config;
  job.telemetry.facts.pool = name;
  job.call.requestId = requestIdAt(job.call.requestId, pool.tag);
  const session = new PoolSession(() => job.open(name));
  const cancel = () => session.cancel();
  job.signal.addEventListener("abort", cancel, { once: true });
  let outcome: PoolOutcome | undefined;
  try {
    outcome = await tryRelays(job, pool, session);
    return outcome;
  } finally {
    job.signal.removeEventListener("abort", cancel);
    if (outcome?.ok !== true) session[Symbol.dispose]();
  }
}

async function tryRelays(job: Job, pool: Pool, session: PoolSession): Promise<PoolOutcome> {
  const relays = marks.order(pool.config.relays, Date.now(), Math.random());
  const exclude: string[] = [];
  for (let tries = 0; tries < ATTEMPTS_PER_POOL_MAX; tries++) {
    const [relay] = relays;
    if (relay === undefined) break;
    job.telemetry.facts.attempts++;
    const attempt = job.telemetry.facts.attempts;
    const picked = await session.pick(pickRequest(job, attempt, exclude));
    if (job.signal.aborted) return clientLeft();
    if (!picked.ok) {
      job.telemetry.facts.detail = picked.detail;
      if (picked.reason === "unavailable") return refused("pool_unavailable");
      // What was excluded has failed a moment ago: that is a failure, not an empty pool.
      if (exclude.length > 0) break;
      const error = dropError(picked.reason, picked.retryAfterMs);
      return { ok: false, error, isFinal: picked.reason !== "rejected-no-endpoints" };
    }
    const answer = await fetchRelay({
      relay,
      prepared: job.prepared,
      grant: picked,
      attempt,
      tenant: job.tenant.id,
      requestId: job.call.requestId,
      trace: job.telemetry.trace,
      tracestate: job.call.tracestate,
      signal: job.signal,
    });
    if (answer.kind === "answered") return { ok: true, ...answer, session };
    const next = judge(answer);
    if (next === "stop") return stop(job, answer);
    session.release("relay-unreachable");
    job.telemetry.facts.detail = answer.kind === "declined" ? answer.code : answer.kind;
    if (next === "other-relay") {
      marks.mark(relay.url, Date.now());
      relays.shift();
    } else exclude.push(...picked.endpoints);
  }
  return refused("upstream_unavailable");
}

/** What a relay's word means for the next attempt. */
function judge(
  answer: Exclude<RelayAnswer, { kind: "answered" }>,
): "other-relay" | "other-endpoints" | "stop" {
  if (answer.kind === "cancelled") return "stop";
  if (answer.kind === "unreachable") return "other-relay";
  switch (answer.code) {
    case "busy":
    case "stopping":
      return "other-relay";
    case "exhausted":
    case "off-list":
      return "other-endpoints";
    default:
      // Codes of a newer relay, too: what is not known to be safe to repeat is not repeated.
      return "stop";
  }
}

function stop(job: Job, answer: Exclude<RelayAnswer, { kind: "answered" }>): PoolOutcome {
  if (answer.kind !== "declined") return clientLeft();
  job.telemetry.facts.detail = answer.code;
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

function pickRequest(job: Job, attempt: number, exclude: readonly string[]): PickRequest {
  const { prepared, tenant, call } = job;
  return {
    request: {
      requestId: call.requestId,
      model: prepared.model,
      tenant: tenant.id,
      priority: tenant.priority,
      keys: prepared.keys,
      promptTokens: prepared.promptTokens,
      outputTokensMax: prepared.outputTokensMax,
      bodyBytes: prepared.body.byteLength,
    },
    attempt,
    exclude,
  };
}

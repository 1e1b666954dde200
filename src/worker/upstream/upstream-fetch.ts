// One request to one upstream, up to its response headers: an llm-d gateway, an API, another Fairlead.
//
//   2xx, 4xx                   the answer, whatever it says
//   429, 503 with retry-after  it is full: neutral; another upstream may not be
//   408, 5xx                   it has failed, and the client has seen nothing
//   401, 403, 3xx              our configuration is at fault, never the client
//   508                        it has come round: nobody is to try again
//
// Nothing of the client's request goes there but its body and its trace: not its key, not its headers.

import { REQUEST_ID_HEADER, TRACEPARENT_HEADER } from "../../agents/protocol/headers.ts";
import { fetcherOf } from "../../config/bindings.ts";
import type { UpstreamConfig } from "../../config/deployment.ts";
import {
  FAIRNESS_ID_HEADERS,
  OBJECTIVE_HEADERS,
  type ResolvedObjective,
  TTL_HEADER,
} from "../../scheduler/flow-control/objectives.ts";
import { formatTraceparent, type TraceContext } from "../../telemetry/traceparent.ts";
import type { Prepared } from "../parsers/parser.ts";
import { withDeadline } from "../shared-copy.ts";
import { logUpstream } from "../telemetry.ts";
import { HOPS_HEADER, HOPS_MAX } from "./hops.ts";
import { HEADERS_DEADLINE_MS, type RelayAnswer, retryAfterMsOf } from "./relay-fetch.ts";

export interface UpstreamRequest {
  /** For the operator. */
  readonly pool: string;
  readonly upstream: UpstreamConfig;
  readonly prepared: Pick<Prepared, "path" | "body" | "isStream">;
  readonly claim: Pick<ResolvedObjective, "fairnessId" | "ttlMs">;
  /** The name of the InferenceObjective that counts for it, if any does. */
  readonly objective: string | undefined;
  /** How many Fairleads it has come through. */
  readonly hops: number;
  /** All others of the pool have failed, or are full: its word that it is full is the answer, then. */
  readonly isLast: boolean;
  readonly requestId: string;
  readonly trace: TraceContext;
  readonly tracestate: string | undefined;
  /** The Worker's bindings. */
  readonly env: object;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

/** Codes of what an upstream, or its configuration, declined. */
export type UpstreamCode = "upstream-full" | "upstream-failed" | "upstream-fault" | "upstream-loop";

/** Sends the request. What the network does is a value. */
export async function fetchUpstream(request: UpstreamRequest): Promise<RelayAnswer> {
  const { upstream, prepared, signal } = request;
  if (request.hops >= HOPS_MAX) return declined("upstream-loop");
  const fetcher = fetcherFor(upstream, request.env);
  if (fetcher === undefined) {
    const binding = `the Worker has no binding ${upstream.binding} that fetches; see wrangler.toml`;
    return faulty(request, binding);
  }
  try {
    const answer = fetcher(upstreamUrl(upstream.url, prepared.path), {
      method: "POST",
      headers: upstreamHeaders(request),
      body: prepared.body,
      signal,
      redirect: "manual",
    });
    return await judge(await withDeadline(answer, HEADERS_DEADLINE_MS), request);
  } catch {
    // Refused, reset, unresolved, no TLS, out of time, or the client left.
    return { kind: signal.aborted ? "cancelled" : "unreachable", endpointsTried: 1 };
  }
}

function fetcherFor({ binding }: UpstreamConfig, env: object): typeof fetch | undefined {
  if (binding === undefined) return fetch;
  const fetcher = fetcherOf<Fetcher>(env, binding);
  return fetcher && ((...args) => fetcher.fetch(...args));
}

async function judge(response: Response, request: UpstreamRequest): Promise<RelayAnswer> {
  const { status } = response;
  const verdict = verdictOn(response, request.isLast);
  if (verdict === undefined) {
    return { kind: "answered", response, endpoint: request.upstream.name, endpointsTried: 1 };
  }
  const retryAfterMs = retryAfterMsOf(response);
  await response.body?.cancel();
  if (verdict !== "upstream-fault") return declined(verdict, retryAfterMs);
  const isRedirect = status >= 300 && status < 400;
  return faulty(
    request,
    isRedirect
      ? `it answered ${status}, and redirects are not followed: configure the URL it leads to`
      : `it answered ${status}: its apiKey is missing, wrong, or not allowed to do this`,
  );
}

/** An upstream's word that it has no room. */
export function saysFull({ status, headers }: Response): boolean {
  return status === 429 || (status === 503 && headers.has("retry-after"));
}

/** undefined: it is an answer. */
function verdictOn(response: Response, isLast: boolean): UpstreamCode | undefined {
  const { status } = response;
  if (saysFull(response)) return isLast ? undefined : "upstream-full";
  if (status === 401 || status === 403 || (status >= 300 && status < 400)) return "upstream-fault";
  if (status === 508) return "upstream-loop";
  return status >= 500 || status === 408 ? "upstream-failed" : undefined;
}

function declined(code: UpstreamCode, retryAfterMs = 0): RelayAnswer {
  return { kind: "declined", code, retryAfterMs, endpointsTried: 1 };
}

/** `why` holds no secret, and nothing of the upstream's answer but its status. */
function faulty({ pool, upstream, requestId }: UpstreamRequest, why: string): RelayAnswer {
  logUpstream({ pool, upstream: upstream.name, requestId, why });
  return declined("upstream-fault");
}

function upstreamUrl(base: string, path: string): string {
  return `${base.replace(/\/+$/, "")}${path}`;
}

function upstreamHeaders(request: UpstreamRequest): Record<string, string> {
  const { upstream, prepared, tracestate } = request;
  return {
    ...(upstream.kind === "openai" ? {} : claimHeaders(request)),
    "content-type": "application/json",
    accept: prepared.isStream ? "text/event-stream" : "application/json",
    ...(upstream.apiKey === undefined ? {} : { authorization: `Bearer ${upstream.apiKey}` }),
    [REQUEST_ID_HEADER]: request.requestId,
    [TRACEPARENT_HEADER]: formatTraceparent(request.trace),
    ...(tracestate === undefined ? {} : { tracestate }),
    [HOPS_HEADER]: String(request.hops + 1),
  };
}

/** For who schedules itself: whose request it is, what it was promised, and how long it may wait. */
function claimHeaders({ claim, objective }: UpstreamRequest): Record<string, string> {
  return {
    [FAIRNESS_ID_HEADERS[0]!]: claim.fairnessId,
    ...(objective === undefined ? {} : { [OBJECTIVE_HEADERS[0]!]: objective }),
    ...(claim.ttlMs === undefined ? {} : { [TTL_HEADER]: `${claim.ttlMs}ms` }),
  };
}

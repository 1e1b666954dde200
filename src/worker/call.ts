// One HTTP request: what it is called, and the trace it belongs to.

import {
  FAIRLEAD_REQUEST_ID_HEADER,
  REQUEST_ID_HEADER,
  TRACEPARENT_HEADER,
} from "../agents/protocol/headers.ts";
import { parseTraceparent, type TraceContext } from "../telemetry/traceparent.ts";
import { randomHex } from "./crypto.ts";
import { createRequestId, parseClientRequestId } from "./request-id.ts";

/** W3C Trace Context asks everyone to carry at least this much of a `tracestate`. */
const TRACESTATE_CHARS_MAX = 512;

export interface Call {
  /** Ours. Changes with the pool that is asked, but never after the answer has begun. */
  requestId: string;
  /** The client's own, where it sent one that may be repeated. */
  readonly clientRequestId: string | undefined;
  /** The client's span; undefined: the trace begins here. */
  readonly parent: TraceContext | undefined;
  readonly tracestate: string | undefined;
  /** Unix ms. */
  readonly receivedAtMs: number;
}

/** A request as the routes of inference have it, whoever found the route. */
export interface InferenceCall {
  readonly request: Request;
  readonly env: Env;
  readonly call: Call;
  /** Keeps the request's context alive. Never rejects. */
  readonly hold: (work: Promise<void>) => void;
}

/** What Hono carries through a request. */
export interface AppEnv {
  Bindings: Env;
  Variables: { call: Call };
}

export function createCall(request: Request): Call {
  const parent = parseTraceparent(request.headers.get(TRACEPARENT_HEADER));
  const tracestate = request.headers.get("tracestate") ?? "";
  const isUsable =
    parent !== undefined && tracestate !== "" && tracestate.length <= TRACESTATE_CHARS_MAX;
  return {
    requestId: createRequestId(randomHex(16)),
    clientRequestId: parseClientRequestId(request.headers.get(REQUEST_ID_HEADER)),
    parent,
    tracestate: isUsable ? tracestate : undefined,
    receivedAtMs: Date.now(),
  };
}

/** Every answer carries both ids. Where the client named none, ours stands in for it. */
export function setRequestIds(headers: Headers, call: Call): void {
  headers.set(REQUEST_ID_HEADER, call.clientRequestId ?? call.requestId);
  headers.set(FAIRLEAD_REQUEST_ID_HEADER, call.requestId);
}

/** The same, for headers that are made of a record. */
export function writeRequestIds(headers: Record<string, string>, call: Call): void {
  headers[REQUEST_ID_HEADER] = call.clientRequestId ?? call.requestId;
  headers[FAIRLEAD_REQUEST_ID_HEADER] = call.requestId;
}

// Everything that a client can be refused with, in OpenAI's error shape. Clients choose their
// exception by status; `code` says which refusal it was; the message says what to do.

import { DROP_REASON_HEADER } from "../../agents/protocol/headers.ts";
import type { DropReason } from "../../scheduler/outcome.ts";

type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "rate_limit_error"
  | "server_error";

interface ErrorSpec {
  readonly status: number;
  readonly type: ErrorType;
  readonly retryAfterS?: number;
}

/** Every code of our own. An engine's errors pass through and are not in it. */
const ERRORS = {
  // The client's key and request
  invalid_api_key: { status: 401, type: "invalid_request_error" },
  invalid_admin_key: { status: 401, type: "authentication_error" },
  invalid_agent_token: { status: 401, type: "authentication_error" },
  invalid_json: { status: 400, type: "invalid_request_error" },
  invalid_value: { status: 400, type: "invalid_request_error" },
  duplicate_parameter: { status: 400, type: "invalid_request_error" },
  unsupported_parameter: { status: 400, type: "invalid_request_error" },
  invalid_configuration: { status: 400, type: "invalid_request_error" },
  unsupported_media_type: { status: 415, type: "invalid_request_error" },
  request_too_large: { status: 413, type: "invalid_request_error" },
  model_not_found: { status: 404, type: "invalid_request_error" },
  not_found: { status: 404, type: "invalid_request_error" },
  method_not_allowed: { status: 405, type: "invalid_request_error" },
  version_conflict: { status: 412, type: "invalid_request_error" },
  upgrade_required: { status: 426, type: "invalid_request_error" },
  // Refusals of the pool
  pool_saturated: { status: 429, type: "rate_limit_error", retryAfterS: 1 },
  queue_timeout: { status: 429, type: "rate_limit_error", retryAfterS: 1 },
  no_endpoints: { status: 503, type: "server_error", retryAfterS: 5 },
  shutting_down: { status: 503, type: "server_error", retryAfterS: 1 },
  // 499 is nginx's, llm-d's is 503: the client has left and sees nothing; the log does.
  client_closed_request: { status: 499, type: "server_error" },
  // Ourselves and what is behind us
  maintenance: { status: 503, type: "server_error", retryAfterS: 30 },
  configuration_unavailable: { status: 503, type: "server_error", retryAfterS: 2 },
  admin_key_not_configured: { status: 503, type: "server_error" },
  pool_unavailable: { status: 503, type: "server_error", retryAfterS: 1 },
  relay_refused: { status: 502, type: "server_error" },
  upstream_unavailable: { status: 502, type: "server_error", retryAfterS: 1 },
  engine_timeout: { status: 504, type: "server_error" },
  loop_detected: { status: 508, type: "server_error" },
  /** Only inside an event stream that had begun: its status was 200. */
  upstream_lost: { status: 502, type: "server_error" },
  internal_error: { status: 500, type: "server_error" },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

/** A refusal before it becomes a response. Never holds a prompt or a secret. */
export interface ApiError {
  readonly code: ErrorCode;
  readonly message: string;
  /** The offending field, as `messages[2].content`; null where none is to blame. */
  readonly param: string | null;
  /** Overrides the code's own. null: it is of no use to try again. */
  readonly retryAfterS?: number | null;
  readonly dropReason?: DropReason;
  /** More headers, e.g. `allow`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** For people with the admin key: further members of the error object. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A value, or why there is none. */
export type Checked<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: ApiError };

/** Shorthand for the refusing half of `Checked`. */
export function refuse(
  code: ErrorCode,
  message: string,
  param: string | null = null,
): { readonly ok: false; readonly error: ApiError } {
  return { ok: false, error: { code, message, param } };
}

/** Status of a refusal. */
export function statusOf(code: ErrorCode): number {
  return ERRORS[code].status;
}

/** The one builder of error responses. Request ids are added by the router. */
export function errorResponse(error: ApiError): Response {
  const spec: ErrorSpec = ERRORS[error.code];
  const headers = new Headers(error.headers);
  headers.set("cache-control", "no-store");
  const { retryAfterS = spec.retryAfterS } = error;
  if (typeof retryAfterS === "number") headers.set("retry-after", String(retryAfterS));
  // OpenAI's clients try again after any 429 and 503 unless they are told not to.
  if (retryAfterS === null) headers.set("x-should-retry", "false");
  if (error.dropReason !== undefined) headers.set(DROP_REASON_HEADER, error.dropReason);
  return Response.json({ error: errorObject(error) }, { status: spec.status, headers });
}

/** The event that ends a stream which cannot go on. No `[DONE]` follows it. */
export function errorEvent(error: ApiError, requestId: string): string {
  // The blank line before it ends an event that may have been cut.
  return `\n\ndata: ${JSON.stringify({ error: { ...errorObject(error), request_id: requestId } })}\n\n`;
}

function errorObject(error: ApiError): Record<string, unknown> {
  const { type } = ERRORS[error.code];
  const { message, param, code, details } = error;
  return { message, type, param, code, ...details };
}

/** What a client is told for each drop reason. The object's own detail goes to the log. */
const DROPS = {
  "rejected-saturated": {
    code: "pool_saturated",
    message: "All capacity for this model is in use. Retry after the time in retry-after.",
  },
  "rejected-ttl-expired": {
    code: "queue_timeout",
    message: "The request waited for capacity for as long as it may. Retry later.",
  },
  "rejected-no-endpoints": {
    code: "no_endpoints",
    message: "No endpoint serves this model at the moment. Retry after the time in retry-after.",
  },
  "rejected-shutting-down": {
    code: "shutting_down",
    message: "The pool is shutting down. Retry: another instance takes over.",
  },
  "rejected-context-cancelled": {
    code: "client_closed_request",
    message: "The client closed the request.",
  },
  "evicted-queue-pressure": {
    code: "pool_saturated",
    message: "Requests of a higher priority took its place. Retry after the time in retry-after.",
  },
  evicted: {
    code: "pool_saturated",
    message: "A request of a higher priority took its place. Retry after the time in retry-after.",
  },
} as const satisfies Record<DropReason, { code: ErrorCode; message: string }>;

const TOO_LARGE =
  "The request is larger than what this model's queue may hold. Sending it again is of no use: ask for less.";

/**
 * The refusal of a pool, as a client sees it. `retryAfterMs` of 0 leaves the table's default, but of a
 * saturated pool it means never: the request does not fit the empty queue either.
 */
export function dropError(reason: DropReason, retryAfterMs: number): ApiError {
  const { code, message } = DROPS[reason];
  const dropped = { code, message, param: null, dropReason: reason };
  if (retryAfterMs > 0) return { ...dropped, retryAfterS: Math.ceil(retryAfterMs / 1000) };
  if (reason !== "rejected-saturated") return dropped;
  return { ...dropped, message: TOO_LARGE, retryAfterS: null };
}

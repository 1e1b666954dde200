// What a relay answers by itself, as opposed to an engine. The codes are the values of
// RELAY_ERROR_HEADER and metric labels; the sentences go to operators, never to clients.

import type { ServerResponse } from "node:http";
import { RELAY_ERROR_HEADER } from "../protocol/headers.ts";

const REFUSALS = {
  "bad-path": {
    status: 404,
    message: "This relay serves POST /v1/chat/completions and POST /v1/completions.",
  },
  unsigned: { status: 401, message: "The signature headers are missing or malformed." },
  "unknown-key": { status: 401, message: "The signing key's id is not one of this relay's." },
  "bad-signature": { status: 401, message: "The signature does not match the request." },
  "body-changed": { status: 401, message: "The body is not the one that was signed." },
  expired: {
    status: 401,
    message:
      "The signature has expired, or expires too far in the future. Compare the clocks of Worker and relay.",
  },
  "bad-stages": {
    status: 400,
    message:
      "A stage header lists too many addresses, or names a rank that is not behind this sidecar.",
  },
  "off-list": {
    status: 403,
    message: "None of the destinations is an endpoint this relay has discovered.",
  },
  replayed: { status: 409, message: "This ticket and attempt were already used." },
  "too-large": { status: 413, message: "The body is larger than this relay accepts." },
  evicted: {
    status: 429,
    message: "The request was ended in favour of one with a higher priority.",
  },
  busy: { status: 503, message: "This relay carries as much as it may." },
  "no-renderer": {
    status: 501,
    message:
      "The engine does not render prompts. Start it with --enable-scale-out, or name a renderer with --render-url.",
  },
  "not-rendered": {
    status: 422,
    message: "The engine does not render this prompt: it would not serve the request either.",
  },
  stopping: { status: 503, message: "This relay is stopping." },
  "engine-down": { status: 503, message: "The engine beside this sidecar cannot be reached." },
  "no-prefill": {
    status: 503,
    message: "The engine computes no prompts, and no endpoint could be had that prefills for it.",
  },
  exhausted: { status: 502, message: "No listed endpoint could be reached." },
  "engine-timeout": { status: 504, message: "The engine did not begin to answer in time." },
} as const;

export type RefusalCode = keyof typeof REFUSALS;

/**
 * Ends `response` with an OpenAI-shaped error. Only before its head was written. `retryAfterMs` is 0
 * where nobody knows when to come again.
 */
export function refuse(response: ServerResponse, code: RefusalCode, retryAfterMs = 0): void {
  const { status, message } = REFUSALS[code];
  const type = errorType(status);
  const body = JSON.stringify({ error: { message, type, param: null, code } });
  if (retryAfterMs > 0) response.setHeader("retry-after", Math.ceil(retryAfterMs / 1_000));
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    [RELAY_ERROR_HEADER]: code,
  });
  response.end(body);
}

function errorType(status: number): string {
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** HTTP status of a refusal, for the log. */
export function refusalStatus(code: RefusalCode): number {
  return REFUSALS[code].status;
}

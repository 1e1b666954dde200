// What a Worker signs and a relay checks. Pure: each side brings its own HMAC-SHA-256 (Web Crypto
// in the Worker, node:crypto in the relay) over the bytes of `signaturePayload`.

import { CLIENT_MODEL_HEADER, DESTINATION_HEADER, SIGNED, STAGE_HEADERS } from "./headers.ts";

/** The signed facts of one attempt at one request. */
export interface SignedRequest {
  readonly keyId: string;
  /** Upper case. */
  readonly method: string;
  /** Path and query, as sent. */
  readonly path: string;
  readonly tenant: string;
  readonly ticket: string;
  readonly attempt: number;
  /** The whole ordered list, as in DESTINATION_HEADER. */
  readonly destinations: string;
  /** One value per STAGE_HEADERS entry; "" where the header is absent. */
  readonly stages: readonly string[];
  /** Unix time in milliseconds after which the request is refused. */
  readonly expiresAtMs: number;
  /** Lower-case hex SHA-256 of the body's bytes as sent. */
  readonly bodySha256: string;
  /** As in its header. Absent where the model was not rewritten. */
  readonly clientModel?: string;
}

/**
 * The text both sides feed to HMAC-SHA-256. One fact a line; no fact can contain a line feed,
 * because each comes from an HTTP header or request line, where the runtimes refuse them.
 */
export function signaturePayload(request: SignedRequest): string {
  return [
    "fairlead-relay-v1",
    request.keyId,
    request.method,
    request.path,
    request.tenant,
    request.ticket,
    String(request.attempt),
    request.destinations,
    ...request.stages,
    String(request.expiresAtMs),
    request.bodySha256,
    // A line only where there is something to say: relays that do not know the fact accept all other
    // requests, and refuse these, whose answers they could not put right.
    ...(request.clientModel === undefined ? [] : [`client-model ${request.clientModel}`]),
  ].join("\n");
}

/** The headers that carry `request` and its signature. */
export function signedHeaders(request: SignedRequest, signatureHex: string): [string, string][] {
  const headers: [string, string][] = [
    [SIGNED.keyId, request.keyId],
    [SIGNED.tenant, request.tenant],
    [SIGNED.ticket, request.ticket],
    [SIGNED.attempt, String(request.attempt)],
    [SIGNED.expires, String(request.expiresAtMs)],
    [SIGNED.bodySha256, request.bodySha256],
    [SIGNED.signature, signatureHex],
    [DESTINATION_HEADER, request.destinations],
  ];
  STAGE_HEADERS.forEach((name, index) => {
    const value = request.stages[index] ?? "";
    if (value !== "") headers.push([name, value]);
  });
  if (request.clientModel !== undefined) headers.push([CLIENT_MODEL_HEADER, request.clientModel]);
  return headers;
}

// Header names between client, Worker, relay and engine. Lower case, as `Headers` and Node give them.

/** The ordered endpoints of a request, `host:port[,host:port…]` (Endpoint Picker Protocol). */
export const DESTINATION_HEADER = "x-gateway-destination-endpoint";
/** In place of endpoints, where a prompt is only to be rendered: any that the relay chooses. */
export const ANY_DESTINATION = "*";
/** vLLM's, where a relay is asked what a prompt's tokens are. Each is an inference path and RENDER_SUFFIX. */
export const RENDER_SUFFIX = "/render";
export const RENDER_PATHS: readonly string[] = [
  `/v1/chat/completions${RENDER_SUFFIX}`,
  `/v1/completions${RENDER_SUFFIX}`,
];
/** The endpoint that answered, set by the relay (llm-d keeps the same fact in Envoy metadata). */
export const DESTINATION_SERVED_HEADER = "x-gateway-destination-endpoint-served";

/** Endpoints of the other stages. Only the edge may set them; all are covered by the signature. */
export const STAGE_HEADERS = [
  "x-prefiller-host-port",
  "x-encoder-hosts-ports",
  "x-data-parallel-host-port",
  "x-kv-cache-source-host-port",
] as const;

/** Why a request was refused; the values are llm-d's. */
export const DROP_REASON_HEADER = "x-llm-d-request-dropped-reason";

export const REQUEST_ID_HEADER = "x-request-id";
export const TRACEPARENT_HEADER = "traceparent";

/** Headers of the answer to a client. */
export const FAIRLEAD_ENDPOINT_HEADER = "x-fairlead-endpoint";
/** The pool that answered; only where endpoints are told, too. */
export const FAIRLEAD_POOL_HEADER = "x-fairlead-pool";
/**
 * Another variant of the model has answered than the request was for, as the tenant allows: its name,
 * percent-encoded, or VARIANT_UNNAMED.
 */
export const FAIRLEAD_VARIANT_HEADER = "x-fairlead-variant";
/** The pool's configuration does not name what it has. */
export const VARIANT_UNNAMED = "*";
/** How many endpoints were tried; from a relay its own count, from the Worker that of all relays. */
export const FAIRLEAD_ATTEMPTS_HEADER = "x-fairlead-attempts";
/** Milliseconds in pools' queues; only where the request has waited. */
export const FAIRLEAD_QUEUE_HEADER = "x-fairlead-queue-ms";
export const FAIRLEAD_REQUEST_ID_HEADER = "x-fairlead-request-id";

/** What the Worker's signature to a relay consists of, besides DESTINATION_HEADER and the stages. */
export const SIGNED = {
  keyId: "x-fairlead-key-id",
  tenant: "x-fairlead-tenant",
  ticket: "x-fairlead-ticket",
  attempt: "x-fairlead-attempt",
  /** Unix time in milliseconds. */
  expires: "x-fairlead-expires",
  /** Lower-case hex. */
  bodySha256: "x-fairlead-body-sha256",
  /** HMAC-SHA-256, lower-case hex. */
  signature: "x-fairlead-signature",
} as const;

/**
 * Signed, too, where the model was rewritten: the name the client used, which the relay puts back into
 * the answer. model-name.ts says how it is written.
 */
export const CLIENT_MODEL_HEADER = "x-fairlead-client-model";

/** About the prompt's content keys, with a signature of its own: content-header.ts. */
export const CONTENT_HEADER = "x-fairlead-content";

/** Prefixes of headers that are ours or llm-d's: never taken from a client, never sent to one unasked. */
export const INTERNAL_HEADER_PREFIXES = ["x-fairlead-", "x-gateway-", "x-llm-d-"] as const;

/** A relay's own refusals, so that the Worker can tell them from an engine's answer. */
export const RELAY_ERROR_HEADER = "x-fairlead-relay-error";

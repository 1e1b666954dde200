// One signed request to one relay, up to its response headers.

import type { ContentFacts } from "../../agents/protocol/content-header.ts";
import {
  DESTINATION_SERVED_HEADER,
  FAIRLEAD_ATTEMPTS_HEADER,
  RELAY_ERROR_HEADER,
  REQUEST_ID_HEADER,
  STAGE_HEADERS,
  TRACEPARENT_HEADER,
} from "../../agents/protocol/headers.ts";
import { encodeModelName } from "../../agents/protocol/model-name.ts";
import type { RelayConfig } from "../../config/deployment.ts";
import type { PickGrant } from "../../durable/contract.ts";
import { formatTraceparent, type TraceContext } from "../../telemetry/traceparent.ts";
import { sha256Hex } from "../crypto.ts";
import type { Prepared } from "../parsers/parser.ts";
import { withDeadline } from "../shared-copy.ts";
import { signRequest } from "./sign.ts";
import { Silences, SILENT } from "./silence.ts";

/** An answer that is not streamed has no headers before it is complete, so this is long. */
export const HEADERS_DEADLINE_MS = 15 * 60_000;
/** A signature is for the request at hand; a relay accepts no lifetime above two minutes. */
const SIGNATURE_LIFETIME_MS = 60_000;

export interface RelayRequest {
  readonly relay: RelayConfig;
  readonly prepared: Prepared;
  readonly grant: Pick<PickGrant, "ticket" | "endpoints" | "stages" | "wantsContent">;
  readonly attempt: number;
  readonly tenant: string;
  readonly requestId: string;
  readonly trace: TraceContext;
  readonly tracestate: string | undefined;
  /** Another relay, or another pool, could answer: one that falls silent is left. */
  readonly hasOther: boolean;
  /** The way there and back, as far as is known. */
  readonly rttMs: number;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

const silences = new Silences();

/** `endpointsTried` is the relay's count; a relay that could not be asked counts as one. */
export type RelayAnswer = { readonly endpointsTried: number } & (
  | /** An engine answered, whatever it said. */
    { readonly kind: "answered"; readonly response: Response; readonly endpoint: string }
  /** The relay itself declined; the code is one of its own. `retryAfterMs`: 0 if it does not say. */
  | { readonly kind: "declined"; readonly code: string; readonly retryAfterMs: number }
  /** No relay answered. */
  | { readonly kind: "unreachable" }
  | { readonly kind: "cancelled" }
);

/** Sends the request. What the network does is a value. */
export async function fetchRelay(request: RelayRequest): Promise<RelayAnswer> {
  const headers = await relayHeaders(request);
  try {
    const answer = fetch(relayUrl(request.relay.url, request.prepared.path), {
      method: "POST",
      headers,
      body: request.prepared.body,
      signal: request.signal,
      redirect: "manual",
    });
    // What is out of time ends with this request's context. A controller to end it sooner would cost
    // every request as much as signing it does.
    const { hasOther, rttMs } = request;
    const awaited = { url: request.relay.url, rttMs };
    const answered = await (hasOther
      ? silences.await(answer, awaited, HEADERS_DEADLINE_MS)
      : withDeadline(answer, HEADERS_DEADLINE_MS));
    if (answered === SILENT) {
      // Where it was only slow, its engine is not to go on for nobody.
      void answer.then(
        (late) => late.body?.cancel(),
        () => undefined,
      );
      return { kind: "unreachable", endpointsTried: 1 };
    }
    return await judge(answered);
  } catch {
    // Refused, reset, unresolved, no TLS, out of time, or the client left.
    return { kind: request.signal.aborted ? "cancelled" : "unreachable", endpointsTried: 1 };
  }
}

async function judge(response: Response): Promise<RelayAnswer> {
  const code = response.headers.get(RELAY_ERROR_HEADER);
  const endpoint = response.headers.get(DESTINATION_SERVED_HEADER);
  // Something else than a relay may stand in its place, and not tell.
  const endpointsTried = Number(response.headers.get(FAIRLEAD_ATTEMPTS_HEADER)) || 1;
  // An error page without either header is from something between here and the relay.
  if (code === null && (endpoint !== null || response.ok)) {
    return { kind: "answered", response, endpoint: endpoint ?? "", endpointsTried };
  }
  await response.body?.cancel();
  return code === null
    ? { kind: "unreachable", endpointsTried: 1 }
    : { kind: "declined", code, retryAfterMs: retryAfterMsOf(response), endpointsTried };
}

/** 0 if it does not say. */
export function retryAfterMsOf(response: Response): number {
  const seconds = response.headers.get("retry-after") ?? "";
  return /^[0-9]{1,5}$/.test(seconds) ? 1_000 * Number(seconds) : 0;
}

/** A proxy before the relay may add a path of its own and must take it away again. */
function relayUrl(base: string, path: string): string {
  return `${base.endsWith("/") ? base.replace(/\/+$/, "") : base}${path}`;
}

/** Undefined where nobody learns, no block of the prompt has a key, or the parser tells no root. */
function contentFacts({ prepared, grant }: RelayRequest): ContentFacts | undefined {
  const { keys, contentRoot: root } = prepared;
  if (grant.wantsContent !== true || root === undefined || keys.length === 0) return undefined;
  return { root, lastKey: { low: keys.at(-2)!, high: keys.at(-1)! } };
}

/** Everything the relay is told. No header of the client's is among it but its tracestate. */
async function relayHeaders(request: RelayRequest): Promise<Record<string, string>> {
  const { relay, prepared, grant, tracestate } = request;
  const key = relay.keys[0]!;
  const signed = await signRequest(
    {
      keyId: key.id,
      method: "POST",
      path: prepared.path,
      tenant: request.tenant,
      ticket: grant.ticket,
      attempt: request.attempt,
      destinations: grant.endpoints.join(","),
      stages: STAGE_HEADERS.map((_, i) => grant.stages?.[i] ?? ""),
      expiresAtMs: Date.now() + SIGNATURE_LIFETIME_MS,
      bodySha256: await sha256Hex(prepared.body),
      ...(prepared.clientModel === undefined
        ? {}
        : { clientModel: encodeModelName(prepared.clientModel) }),
    },
    contentFacts(request),
    key.secret,
  );
  // A record: the runtime reads pairs through an iterator, one call a pair. Names that are computed make a
  // literal slow.
  const headers: Record<string, string> = {
    "content-type": "application/json",
    accept: prepared.isStream ? "text/event-stream" : "application/json",
  };
  headers[REQUEST_ID_HEADER] = request.requestId;
  headers[TRACEPARENT_HEADER] = formatTraceparent(request.trace);
  if (tracestate !== undefined) headers["tracestate"] = tracestate;
  for (const [name, value] of signed) headers[name] = value;
  return headers;
}

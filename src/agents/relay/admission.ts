// Which requests a relay believes: only those whose signature holds, that have not expired, and that
// list endpoints the relay discovered itself. Everything here looks at headers only, so a stranger
// is refused before a byte of the body is read. The body's hash and single use are checked after.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import {
  ANY_DESTINATION,
  CLIENT_MODEL_HEADER,
  DESTINATION_HEADER,
  RENDER_PATHS,
  SIGNED,
  STAGE_HEADERS,
} from "../protocol/headers.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import { decodeModelName } from "../protocol/model-name.ts";
import { signaturePayload, type SignedRequest } from "../protocol/signature.ts";
import type { RefusalCode } from "./refusals.ts";
import { parseStages, type StageAddresses } from "./disaggregation/stage-addresses.ts";
import type { RelayKeys } from "./relay-keys.ts";

/** The only paths served: an engine's management paths are unreachable through a relay. */
const PATHS: ReadonlySet<string> = new Set(["/v1/chat/completions", "/v1/completions"]);

const HEX_SHA256 = /^[0-9a-f]{64}$/;
const TICKET_CHARS_MAX = 128;
const UNSIGNED_INTEGER = /^(?:0|[1-9][0-9]{0,15})$/;

export interface RequestHead {
  readonly method: string;
  /** Path and query, as received. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

export interface AdmissionContext {
  readonly keys: RelayKeys;
  /** Whether `host:port` is an endpoint discovered by this relay. */
  isKnown(address: string): boolean;
  /** Unix time. */
  readonly nowMs: number;
}

export interface Admitted {
  readonly ok: true;
  readonly signed: SignedRequest;
  /** Known endpoints in the order to try them; at least one. */
  readonly destinations: readonly string[];
  readonly stages: StageAddresses;
  /** Listed addresses that are not known here: gone, or not yet discovered. */
  readonly offListCount: number;
}

export type Admission = Admitted | { readonly ok: false; readonly code: RefusalCode };

/** Judges a request by its head. */
export function admit(head: RequestHead, context: AdmissionContext): Admission {
  if (head.method !== "POST" || !PATHS.has(head.path)) return refused("bad-path");
  const verified = verify(head, context, PROTOCOL_LIMITS.signatureLifetimeMsMax);
  if (!verified.ok) return verified;
  const { signed } = verified;
  const listed = signed.destinations.split(",").map((address) => address.trim().toLowerCase());
  if (listed.length > PROTOCOL_LIMITS.destinationsMax) return refused("off-list");
  // While a pool changes, the object may know an endpoint that the relay does not, or no longer:
  // the others still serve. An unknown address is never connected to.
  const known = [...new Set(listed)].filter((address) => context.isKnown(address));
  const stages = parseStages(signed.stages, (address) => context.isKnown(address));
  if (known.length === 0 || stages === undefined) return refused("off-list");
  // The rank of an engine whose endpoint the object knows by its first port only.
  const { dataParallel } = stages;
  const first = dataParallel === undefined ? [] : [dataParallel];
  return {
    ok: true,
    signed,
    destinations: [...new Set([...first, ...known])],
    stages,
    offListCount: listed.length - known.length,
  };
}

type Verified =
  | { readonly ok: true; readonly signed: SignedRequest }
  | { readonly ok: false; readonly code: RefusalCode };

/**
 * Judges a request to render a prompt. It holds no ticket, whatever its header says, and no object picked
 * an endpoint for it: whom it goes to is the relay's choice.
 */
export function admitRender(
  head: RequestHead,
  context: Pick<AdmissionContext, "keys" | "nowMs">,
): Verified {
  if (head.method !== "POST" || !RENDER_PATHS.includes(head.path)) return refused("bad-path");
  const verified = verify(head, context, PROTOCOL_LIMITS.renderSignatureLifetimeMsMax);
  if (verified.ok && verified.signed.destinations !== ANY_DESTINATION) return refused("off-list");
  return verified;
}

/** Whether one of the relay's keys signed the head, and did so lately. */
function verify(
  head: RequestHead,
  context: Pick<AdmissionContext, "keys" | "nowMs">,
  lifetimeMsMax: number,
): Verified {
  const parsed = parseSigned(head);
  if (parsed === undefined) return refused("unsigned");
  const { signed, signature } = parsed;
  const key = context.keys.get(signed.keyId);
  if (key === undefined) return refused("unknown-key");
  const expected = createHmac("sha256", key).update(signaturePayload(signed)).digest();
  if (!timingSafeEqual(expected, Buffer.from(signature, "hex"))) return refused("bad-signature");
  const { clockSkewMsMax } = PROTOCOL_LIMITS;
  const leftMs = signed.expiresAtMs - context.nowMs;
  if (leftMs < -clockSkewMsMax) return refused("expired");
  if (leftMs > lifetimeMsMax + clockSkewMsMax) return refused("expired");
  return { ok: true, signed };
}

function refused(code: RefusalCode): { readonly ok: false; readonly code: RefusalCode } {
  return { ok: false, code };
}

function parseSigned(
  head: RequestHead,
): { readonly signed: SignedRequest; readonly signature: string } | undefined {
  const header = (name: string): string => {
    const value = head.headers[name];
    return typeof value === "string" ? value : "";
  };
  const attempt = header(SIGNED.attempt);
  const expires = header(SIGNED.expires);
  const signature = header(SIGNED.signature);
  const clientModel = header(CLIENT_MODEL_HEADER);
  const signed: SignedRequest = {
    keyId: header(SIGNED.keyId),
    method: head.method,
    path: head.path,
    tenant: header(SIGNED.tenant),
    ticket: header(SIGNED.ticket),
    attempt: Number(attempt),
    destinations: header(DESTINATION_HEADER),
    stages: STAGE_HEADERS.map(header),
    expiresAtMs: Number(expires),
    bodySha256: header(SIGNED.bodySha256),
    ...(clientModel === "" ? {} : { clientModel }),
  };
  const isWellFormed =
    signed.keyId !== "" &&
    signed.tenant !== "" &&
    signed.ticket !== "" &&
    signed.ticket.length <= TICKET_CHARS_MAX &&
    UNSIGNED_INTEGER.test(attempt) &&
    UNSIGNED_INTEGER.test(expires) &&
    signed.destinations !== "" &&
    (clientModel === "" || decodeModelName(clientModel) !== undefined) &&
    HEX_SHA256.test(signed.bodySha256) &&
    HEX_SHA256.test(signature);
  return isWellFormed ? { signed, signature } : undefined;
}

// Signs requests to a relay as the Worker does.

import { createHash, createHmac, randomUUID } from "node:crypto";
import {
  contentPayload,
  encodeContentHeader,
  type ContentFacts,
} from "../../../src/agents/protocol/content-header.ts";
import { CONTENT_HEADER, SIGNED, STAGE_HEADERS } from "../../../src/agents/protocol/headers.ts";
import {
  signaturePayload,
  signedHeaders,
  type SignedRequest,
} from "../../../src/agents/protocol/signature.ts";

export const KEY = { id: "k1", secret: "a-relay-secret-for-tests" };

export type SigningOverrides = Partial<SignedRequest> & { readonly secret?: string };

/** The headers of a request for `destinations` with `body`. */
export function sign(
  destinations: string,
  body: string | Uint8Array,
  overrides: SigningOverrides = {},
): Record<string, string> {
  const { secret = KEY.secret, ...facts } = overrides;
  const signed: SignedRequest = {
    keyId: KEY.id,
    method: "POST",
    path: "/v1/chat/completions",
    tenant: "acme",
    ticket: randomUUID(),
    attempt: 0,
    destinations,
    stages: STAGE_HEADERS.map(() => ""),
    expiresAtMs: Date.now() + 30_000,
    bodySha256: createHash("sha256").update(body).digest("hex"),
    ...facts,
  };
  const signature = createHmac("sha256", secret).update(signaturePayload(signed)).digest("hex");
  return Object.fromEntries(signedHeaders(signed, signature));
}

/** The header that tells a relay of a prompt's content, for a request with these signed headers. */
export function signContent(
  facts: ContentFacts,
  headers: Readonly<Record<string, string>>,
  secret = KEY.secret,
): Record<string, string> {
  const payload = contentPayload(facts, headers[SIGNED.signature]!);
  const mac = createHmac("sha256", secret).update(payload).digest("hex");
  return { [CONTENT_HEADER]: encodeContentHeader(facts, mac) };
}

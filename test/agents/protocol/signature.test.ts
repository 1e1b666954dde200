import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  CLIENT_MODEL_HEADER,
  DESTINATION_HEADER,
  SIGNED,
  STAGE_HEADERS,
} from "../../../src/agents/protocol/headers.ts";
import {
  signaturePayload,
  signedHeaders,
  type SignedRequest,
} from "../../../src/agents/protocol/signature.ts";

const REQUEST: SignedRequest = {
  keyId: "k1",
  method: "POST",
  path: "/v1/chat/completions",
  tenant: "acme",
  ticket: "t-1",
  attempt: 2,
  destinations: "10.0.0.1:8000,10.0.0.2:8000",
  stages: ["10.0.0.3:8000", "", "", ""],
  expiresAtMs: 1_800_000_000_000,
  bodySha256: "ab".repeat(32),
};

// Worker and relay are deployed apart: a change of this text breaks one of them.
it("signs a text that stays as it is", () => {
  const payload = signaturePayload(REQUEST);
  expect(payload).toBe(
    `fairlead-relay-v1\nk1\nPOST\n/v1/chat/completions\nacme\nt-1\n2\n10.0.0.1:8000,10.0.0.2:8000\n10.0.0.3:8000\n\n\n\n1800000000000\n${"ab".repeat(32)}`,
  );
  expect(createHmac("sha256", "a-relay-secret-for-tests").update(payload).digest("hex")).toMatch(
    /^[0-9a-f]{64}$/,
  );
});

it("signs the client's name of the model where there is one", () => {
  const renamed = { ...REQUEST, clientModel: "acme%2Fchat" };
  expect(signaturePayload(renamed)).toBe(`${signaturePayload(REQUEST)}\nclient-model acme%2Fchat`);
  const headers = Object.fromEntries(signedHeaders(renamed, "cd".repeat(32)));
  expect(headers[CLIENT_MODEL_HEADER]).toBe("acme%2Fchat");
});

it("carries every signed fact in a header, and absent stages in none", () => {
  const headers = Object.fromEntries(signedHeaders(REQUEST, "cd".repeat(32)));
  expect(headers).toEqual({
    [SIGNED.keyId]: "k1",
    [SIGNED.tenant]: "acme",
    [SIGNED.ticket]: "t-1",
    [SIGNED.attempt]: "2",
    [SIGNED.expires]: "1800000000000",
    [SIGNED.bodySha256]: "ab".repeat(32),
    [SIGNED.signature]: "cd".repeat(32),
    [DESTINATION_HEADER]: "10.0.0.1:8000,10.0.0.2:8000",
    [STAGE_HEADERS[0]]: "10.0.0.3:8000",
  });
});

it("gives two requests the same text only if they are the same", () => {
  const text = fc.string({ unit: fc.constantFrom("a", ",", ":", " ", "0"), maxLength: 3 });
  const facts = {
    keyId: text,
    method: text,
    path: text,
    tenant: text,
    ticket: text,
    attempt: fc.nat(3),
    destinations: text,
    stages: fc.tuple(text, text, text, text),
    expiresAtMs: fc.nat(3),
    bodySha256: text,
    clientModel: text,
  };
  const { clientModel: _, ...required } = facts;
  const requiredKeys = Object.keys(required) as (keyof typeof required)[];
  const request: fc.Arbitrary<SignedRequest> = fc.record(facts, { requiredKeys });
  fc.assert(
    fc.property(request, request, (a, b) => {
      const isSame = JSON.stringify(a) === JSON.stringify(b);
      expect(signaturePayload(a) === signaturePayload(b)).toBe(isSame);
    }),
  );
});

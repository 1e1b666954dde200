import { createSecretKey } from "node:crypto";
import { expect, it } from "vitest";
import { CONTENT_HEADER } from "../../../../src/agents/protocol/headers.ts";
import { readContentFacts } from "../../../../src/agents/relay/learning/content-facts.ts";
import { KEY, sign, signContent } from "../../support/signing.ts";

const FACTS = { root: { low: 1, high: 2 }, lastKey: { low: 3, high: 4 } };
const secret = createSecretKey(Buffer.from(KEY.secret));
const signed = sign("10.0.0.1:8000", "{}");
const content = signContent(FACTS, signed);
const text = content[CONTENT_HEADER]!;

it("are what the Worker signed", () => {
  expect(readContentFacts({ ...signed, ...content }, secret)).toEqual(FACTS);
});

it.for([
  { name: "no header", headers: signed },
  { name: "no such header", headers: { ...signed, [CONTENT_HEADER]: "x" } },
  { name: "another root", headers: { ...signed, [CONTENT_HEADER]: text.replace("1.", "0.") } },
  { name: "another request's", headers: { ...sign("10.0.0.1:8000", "{}"), ...content } },
  { name: "another key's", headers: { ...signed, ...signContent(FACTS, signed, "another") } },
])("are none with $name", ({ headers }) => {
  expect(readContentFacts(headers, secret)).toBeUndefined();
});

import { describe, expect, it } from "vitest";
import { DESTINATION_HEADER, SIGNED, STAGE_HEADERS } from "../../../src/agents/protocol/headers.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { admit } from "../../../src/agents/relay/admission.ts";
import { parseRelayKeys } from "../../../src/agents/relay/relay-keys.ts";
import { KEY, sign, type SigningOverrides } from "../support/signing.ts";

const NOW_MS = 1_800_000_000_000;
const OTHER = { id: "k2", secret: "another-secret-for-tests" };
const KEYS = parseRelayKeys(`${KEY.id}:${KEY.secret},${OTHER.id}:${OTHER.secret}`);
const KNOWN = ["10.0.0.1:8000", "10.0.0.2:8000"];
const LIST = KNOWN.join(",");
const BODY = "{}";

function judge(headers: Record<string, string>, request: { method?: string; path?: string } = {}) {
  return admit(
    { method: "POST", path: "/v1/chat/completions", headers, ...request },
    { keys: KEYS, isKnown: (address) => KNOWN.includes(address), nowMs: NOW_MS },
  );
}
const signed = (overrides: SigningOverrides = {}, list = LIST) =>
  sign(list, BODY, { expiresAtMs: NOW_MS + 30_000, ...overrides });

describe("admit", () => {
  it("admits what either key signed and gives the endpoints in order", () => {
    expect(judge(signed())).toMatchObject({ ok: true, destinations: KNOWN, offListCount: 0 });
    expect(judge(signed({ keyId: OTHER.id, secret: OTHER.secret }))).toMatchObject({ ok: true });
    expect(judge(signed({ path: "/v1/completions" }), { path: "/v1/completions" })).toMatchObject({
      ok: true,
    });
  });

  it.for([
    { header: SIGNED.keyId, value: OTHER.id },
    { header: SIGNED.tenant, value: "mallory" },
    { header: SIGNED.ticket, value: "another" },
    { header: SIGNED.attempt, value: "1" },
    { header: SIGNED.expires, value: String(NOW_MS + 60_000) },
    { header: SIGNED.bodySha256, value: "0".repeat(64) },
    { header: SIGNED.signature, value: "0".repeat(64) },
    { header: DESTINATION_HEADER, value: KNOWN[0]! },
    { header: DESTINATION_HEADER, value: KNOWN.toReversed().join(",") },
    ...STAGE_HEADERS.map((header) => ({ header, value: KNOWN[0]! })),
  ])("refuses a changed $header", ({ header, value }) => {
    expect(judge({ ...signed(), [header]: value })).toEqual({ ok: false, code: "bad-signature" });
  });

  it("refuses a signature for another path", () => {
    expect(judge(signed(), { path: "/v1/completions" })).toEqual({
      ok: false,
      code: "bad-signature",
    });
  });

  it.for([
    { name: "GET", request: { method: "GET" } },
    { name: "a management path", request: { path: "/v1/load_lora_adapter" } },
    { name: "a query", request: { path: "/v1/chat/completions?x=1" } },
    { name: "a path with dots", request: { path: "/v1/completions/../../sleep" } },
  ])("refuses $name", ({ request }) => {
    expect(judge(signed(request), request)).toEqual({ ok: false, code: "bad-path" });
  });

  it.for(Object.values(SIGNED).map((header) => ({ header })))(
    "refuses a request without $header",
    ({ header }) => {
      const { [header]: _, ...rest } = signed();
      expect(judge(rest)).toEqual({ ok: false, code: "unsigned" });
    },
  );

  it.for([
    { header: SIGNED.attempt, value: "01" },
    { header: SIGNED.attempt, value: "-1" },
    { header: SIGNED.expires, value: "1e99" },
    { header: SIGNED.signature, value: "zz".repeat(32) },
    { header: SIGNED.signature, value: "ab" },
    { header: SIGNED.ticket, value: "t".repeat(129) },
  ])("refuses a malformed $header", ({ header, value }) => {
    expect(judge({ ...signed(), [header]: value })).toEqual({ ok: false, code: "unsigned" });
  });

  it("refuses unknown keys and wrong secrets", () => {
    expect(judge(signed({ keyId: "k9" }))).toEqual({ ok: false, code: "unknown-key" });
    expect(judge(signed({ secret: OTHER.secret }))).toEqual({ ok: false, code: "bad-signature" });
  });

  it("allows for clocks that differ, and refuses what is expired or lives too long", () => {
    const { clockSkewMsMax: skew, signatureLifetimeMsMax: lifetime } = PROTOCOL_LIMITS;
    const at = (offsetMs: number) => judge(signed({ expiresAtMs: NOW_MS + offsetMs }));
    expect(at(-skew)).toMatchObject({ ok: true });
    expect(at(-skew - 1)).toEqual({ ok: false, code: "expired" });
    expect(at(lifetime + skew)).toMatchObject({ ok: true });
    expect(at(lifetime + skew + 1)).toEqual({ ok: false, code: "expired" });
  });

  it.for([
    { name: "an unknown host", list: "10.9.9.9:8000" },
    { name: "a known host's other port", list: "10.0.0.1:9000" },
    { name: "a known host without a port", list: "10.0.0.1" },
    { name: "a URL", list: "http://10.0.0.1:8000" },
    { name: "an address with credentials", list: "x@10.0.0.1:8000" },
    { name: "too long a list", list: Array(9).fill(KNOWN[0]).join(",") },
  ])("refuses $name as a destination", ({ list }) => {
    expect(judge(signed({}, list))).toEqual({ ok: false, code: "off-list" });
  });

  it("passes over unknown endpoints when known ones are listed, too", () => {
    expect(judge(signed({}, `10.9.9.9:8000, ${KNOWN[1]}`))).toMatchObject({
      ok: true,
      destinations: [KNOWN[1]],
      offListCount: 1,
    });
  });
});

describe("parseRelayKeys", () => {
  it.for([
    { name: "no id", text: "a-secret-without-an-id" },
    { name: "a short secret", text: "k1:short" },
    { name: "one id twice", text: `k1:${KEY.secret},k1:${OTHER.secret}` },
    { name: "three keys", text: ["a", "b", "c"].map((id) => `${id}:${KEY.secret}`).join(",") },
  ])("refuses $name without repeating it", ({ text }) => {
    expect(() => parseRelayKeys(text)).toThrow(/FAIRLEAD_RELAY_KEYS/);
    expect(() => parseRelayKeys(text)).not.toThrow(text);
  });

  it("keeps colons in secrets", () => {
    expect(() => parseRelayKeys("k1:a:secret:with:colons")).not.toThrow();
  });
});

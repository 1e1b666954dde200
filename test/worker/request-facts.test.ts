import { describe, expect, it } from "vitest";
import { REQUEST_FACTS_LIMITS } from "../../src/scheduler/model/inference-request.ts";
import { readRequestFacts } from "../../src/worker/request-facts.ts";

const facts = (headers: Record<string, string>, wanted: readonly string[] = []) =>
  readRequestFacts(new Headers(headers), wanted);

describe("headers", () => {
  it("are those that are wanted, and no others", () => {
    const headers = { "X-Session-Id": "s1", "session-id": "s2", other: "o" };
    expect(facts(headers, ["x-session-id", "session-id", "missing"])).toEqual({
      headers: { "x-session-id": "s1", "session-id": "s2" },
    });
    expect(facts(headers)).toEqual({});
    expect(facts({ "x-session-id": "" }, ["x-session-id"])).toEqual({});
  });

  it.for(["authorization", "proxy-authorization", "cookie", "x-fairlead-tenant", "x-llm-d-any"])(
    "are never %s, though it is wanted",
    (name) => {
      expect(facts({ [name]: "secret" }, [name])).toEqual({});
    },
  );

  it("may be a single cookie", () => {
    const cookie = "a=1; Session=s=1 ; session=s2;b";
    expect(facts({ cookie }, ["cookie:session"])).toEqual({ headers: { "cookie:session": "s=1" } });
    expect(facts({ cookie }, ["cookie:b"])).toEqual({});
    expect(facts({}, ["cookie:session"])).toEqual({});
  });

  it("are as many and as long as they may be", () => {
    const { headersMax, headerValueBytesMax } = REQUEST_FACTS_LIMITS;
    const names = Array.from({ length: headersMax + 1 }, (_, i) => `h-${i}`);
    const all = Object.fromEntries(names.map((name) => [name, "v"]));
    expect(Object.keys(facts(all, names).headers!)).toEqual(names.slice(0, headersMax));
    const longest = "x".repeat(headerValueBytesMax);
    expect(facts({ a: longest, b: `${longest}x` }, ["a", "b"])).toEqual({
      headers: { a: longest },
    });
  });
});

describe("service level objectives", () => {
  it.for([
    { headers: { "x-llm-d-slo-ttft-ms": "250" }, expected: { ttftSloMs: 250 } },
    { headers: { "x-llm-d-slo-tpot-ms": "12.5" }, expected: { tpotSloMs: 12.5 } },
    {
      headers: { "x-slo-ttft-ms": "250", "x-slo-tpot-ms": "20" },
      expected: { ttftSloMs: 250, tpotSloMs: 20 },
    },
    {
      headers: { "x-slo-ttft-ms": "250", "x-llm-d-slo-ttft-ms": "300" },
      expected: { ttftSloMs: 300 },
    },
    { headers: { "x-slo-ttft-ms": "250", "x-llm-d-slo-ttft-ms": "soon" }, expected: {} },
    { headers: { "x-slo-ttft-ms": "0" }, expected: {} },
    { headers: { "x-slo-ttft-ms": "-1" }, expected: {} },
    { headers: { "x-slo-ttft-ms": "" }, expected: {} },
    { headers: { "x-slo-ttft-ms": "Infinity" }, expected: {} },
    { headers: { "x-slo-ttft-ms": "86400001" }, expected: {} },
  ])("are $expected of $headers", ({ headers, expected }) => {
    expect(facts(headers as unknown as Record<string, string>)).toEqual(expected);
  });
});

import { describe, expect, it } from "vitest";
import { findPlugin } from "../../../../src/scheduler/registry.ts";
import { encodeBase64 } from "../../../../src/scheduler/support/base64.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createFilter, keptBy } from "../../support/plugins.ts";

const ROWS = [{}, {}, {}];
const TYPE = "session-affinity-filter";
const SESSION_ID = { strategy: "session_id" };

describe("session-affinity-filter", () => {
  const withToken = (token: string, candidates = [0, 1, 2]) =>
    pickContext(ROWS, { candidates, request: { headers: { "x-session-token": token } } });

  it("keeps the bound endpoint alone", () => {
    expect(keptBy(TYPE, {}, withToken(encodeBase64("default/e2")))).toEqual([2]);
  });

  it("keeps all where the bound endpoint is no candidate, and without a session", () => {
    expect(keptBy(TYPE, {}, withToken(encodeBase64("default/e2"), [0, 1]))).toEqual([0, 1]);
    expect(keptBy(TYPE, {}, withToken("nonsense"))).toEqual([0, 1, 2]);
    expect(keptBy(TYPE, {}, pickContext(ROWS))).toEqual([0, 1, 2]);
  });

  it("keeps a session where its first request went, and moves it when it must", () => {
    const filter = createFilter(TYPE, SESSION_ID);
    const ask = (requestId: string, candidates: number[], sentTo: number) => {
      const headers = { "x-session-id": "s" };
      const context = pickContext(ROWS, { candidates, request: { requestId, headers } });
      const kept = filter.filter(context);
      filter.onPicked?.(context, sentTo);
      return [...context.candidates.subarray(0, kept)];
    };
    expect(ask("1", [0, 1, 2], 1)).toEqual([0, 1, 2]);
    expect(ask("2", [0, 1, 2], 1)).toEqual([1]);
    expect(ask("3", [0, 2], 2)).toEqual([0, 2]);
    expect(ask("4", [0, 1, 2], 2)).toEqual([2]);
  });

  it("learns and answers with a header only as its strategy needs it", () => {
    expect(createFilter(TYPE, {})).toHaveProperty("responseHeaders");
    expect(createFilter(TYPE, {})).not.toHaveProperty("onPicked");
    expect(createFilter(TYPE, SESSION_ID)).not.toHaveProperty("responseHeaders");
    expect(createFilter(TYPE, SESSION_ID)).toHaveProperty("onPicked");
  });

  it("asks for the header it reads", () => {
    const plugin = findPlugin(TYPE)!;
    expect(plugin.requestHeaders!(plugin.params.parse({}))).toEqual(["x-session-token"]);
    expect(plugin.requestHeaders!(plugin.params.parse(SESSION_ID))).toEqual(["x-session-id"]);
  });
});

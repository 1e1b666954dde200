import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext, type PickContextOptions } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

const ROWS = [{}, {}, {}];

describe("session-affinity-scorer", () => {
  it("scores the endpoint that the client's token names", () => {
    const scorer = createScorer("session-affinity-scorer");
    const endpoint = pickContext(ROWS).pool.endpoint(1)!;
    const header = scorer.responseHeaders![0]!;
    expect(header).toMatchObject({ name: "x-session-token", profile: null });
    const headers = { [header.name]: header.valueOf(endpoint) };
    expect(scoresOf(scorer, pickContext(ROWS, { request: { headers } }))).toEqual([0, 1, 0]);
  });

  it.for([
    { name: "no token", headers: {} },
    { name: "a token of nobody", headers: { "x-session-token": btoa("default/gone") } },
    { name: "no base64", headers: { "x-session-token": "%%%" } },
  ])("scores nobody for $name", ({ headers }) => {
    const scorer = createScorer("session-affinity-scorer");
    expect(scoresOf(scorer, pickContext(ROWS, { request: { headers } }))).toEqual([0, 0, 0]);
  });

  it("scores where the session's first request went, though a later one went elsewhere", () => {
    const scorer = createScorer("session-affinity-scorer", { strategy: "session_id" });
    const request = { headers: { "x-session-id": "s" } };
    const send = (slot: number, options: PickContextOptions = {}) => {
      const context = pickContext(ROWS, { request, ...options });
      const scores = scoresOf(scorer, context);
      scorer.onPicked?.(context, slot);
      return scores;
    };
    expect(send(2)).toEqual([0, 0, 0]);
    expect(send(0)).toEqual([0, 0, 1]);
    expect(send(0)).toEqual([0, 0, 1]);
    // Only now is its endpoint not among them: the session moves.
    expect(send(0, { candidates: [0, 1] })).toEqual([0, 0]);
    expect(send(0)).toEqual([1, 0, 0]);
  });

  it("reads the headers that it is configured with, and no others", () => {
    const plugin = pluginOf("session-affinity-scorer");
    const headersOf = (given: object) => plugin.requestHeaders!(plugin.params.parse(given));
    const given = { strategy: "session_id", sessionIdConfig: { sources: [{ header: "X-Chat" }] } };
    expect(headersOf({})).toEqual(["x-session-token"]);
    expect(headersOf(given)).toEqual(["x-chat"]);
  });
});

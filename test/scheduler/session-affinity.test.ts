import { describe, expect, it } from "vitest";
import { pluginOf } from "../../src/scheduler/registry.ts";
import type { NarrowingContext } from "../../src/scheduler/plugin.ts";
import {
  createSessionAffinity,
  type SessionAffinity,
  sessionAffinityTraits,
  SESSIONS_MAX,
} from "../../src/scheduler/session-affinity.ts";
import { NOW_MS, pickContext, type PickContextOptions } from "./support/pick-context.ts";

const traits = sessionAffinityTraits;

const ROWS = [{}, {}, {}];

function create(params: object): SessionAffinity {
  return createSessionAffinity(traits.params.parse(params));
}

/** A request of `session` at `atS` seconds. */
function request(session: string, atS = 0, options: PickContextOptions = {}): NarrowingContext {
  const context = pickContext(ROWS, {
    ...options,
    request: {
      requestId: `${session}-${atS}`,
      headers: { "x-session-id": session },
      ...options.request,
    },
  });
  context.nowMs = NOW_MS + atS * 1_000;
  return context;
}

describe.for([
  "session-affinity-filter",
  "session-affinity-scorer",
  "multicluster-session-affinity-filter",
])("%s", (type) => {
  it("warns that clients read and write its tokens, and of nothing without them", () => {
    const plugin = pluginOf(type);
    const notesOf = (params: object) => plugin.notes!(plugin.params.parse(params)).join(" ");
    const encodedEndpointHeaderConfig = { header: "X-Mine" };
    expect(notesOf({ encodedEndpointHeaderConfig })).toMatch(
      /names of endpoints by x-mine.*signed/,
    );
    expect(notesOf({ strategy: "session_id" })).toBe("");
  });
});

describe("the strategy encoded_endpoint_header", () => {
  const tokenHeader = (value: string) =>
    pickContext(ROWS, { request: { headers: { "x-session-token": value } } });
  const token = Buffer.from("default/e1").toString("base64");

  it.for([
    { name: "finds the endpoint that the token names", value: token, want: 1 },
    { name: "takes blanks around it", value: ` ${token} `, want: 1 },
    { name: "knows no endpoint of another name", value: btoa("default/e9"), want: -1 },
    { name: "reads no name in clear", value: "default/e1", want: -1 },
    { name: "takes an empty header for none", value: "", want: -1 },
  ])("$name", ({ value, want }) => {
    expect(create({}).boundSlot(tokenHeader(value))).toBe(want);
  });

  it("finds candidates only", () => {
    const context = pickContext(ROWS, {
      candidates: [0, 2],
      request: { headers: { "x-session-token": token } },
    });
    expect(create({}).boundSlot(context)).toBe(-1);
  });

  it("hands out the token it reads, under its own header's name", () => {
    const params = { encodedEndpointHeaderConfig: { header: " X-Mine " }, profileName: "prefill" };
    const [responseHeader] = create(params).events.responseHeaders!;
    expect(responseHeader).toMatchObject({ name: "x-mine", profile: "prefill" });
    const endpoint = pickContext(ROWS).pool.endpoint(1)!;
    expect(responseHeader!.valueOf(endpoint)).toBe(token);
    expect(create({}).events.responseHeaders![0]).toMatchObject({
      name: "x-session-token",
      profile: null,
    });
  });

  it("learns nothing", () => {
    expect(create({}).events).not.toHaveProperty("onPicked");
  });
});

describe("the strategy session_id", () => {
  const bySession = (params: object = {}) => create({ strategy: "session_id", ...params });
  const pick = (affinity: SessionAffinity, context: NarrowingContext, slot: number): number => {
    const bound = affinity.boundSlot(context);
    affinity.events.onPicked?.(context, slot);
    return bound;
  };

  it("binds a session where its first request went", () => {
    const affinity = bySession();
    expect(pick(affinity, request("s"), 2)).toBe(-1);
    expect(affinity.boundSlot(request("s", 1))).toBe(2);
    expect(affinity.boundSlot(request("other", 1))).toBe(-1);
  });

  it("keeps the session bound while its endpoint is a candidate, wherever a request goes", () => {
    const affinity = bySession();
    pick(affinity, request("s"), 2);
    pick(affinity, request("s", 1), 0);
    expect(affinity.boundSlot(request("s", 2))).toBe(2);
  });

  it("moves the session when its endpoint is no candidate", () => {
    const affinity = bySession();
    pick(affinity, request("s"), 2);
    pick(affinity, request("s", 1, { candidates: [0, 1] }), 0);
    expect(affinity.boundSlot(request("s", 2))).toBe(0);
  });

  it("moves it on a second attempt of the same request, too", () => {
    const affinity = bySession();
    pick(affinity, request("s"), 2);
    const retry = { request: { requestId: "same" } };
    pick(affinity, request("s", 1, retry), 2);
    pick(affinity, request("s", 1, { ...retry, candidates: [0, 1] }), 1);
    expect(affinity.boundSlot(request("s", 2))).toBe(1);
  });

  it("leaves a binding alone in a decision that did not ask it", () => {
    const affinity = bySession();
    pick(affinity, request("s"), 2);
    affinity.events.onPicked?.(request("s", 1), 0);
    expect(affinity.boundSlot(request("s", 2))).toBe(2);
  });

  it("forgets a session after its time, and not before", () => {
    const affinity = bySession({ sessionIdConfig: { evictionTtlSeconds: 60 } });
    pick(affinity, request("s"), 2);
    pick(affinity, request("s", 50), 2);
    expect(affinity.boundSlot(request("s", 110))).toBe(2);
    expect(affinity.boundSlot(request("s", 110.001))).toBe(-1);
  });

  it("counts the time from requests that went there, as llm-d does", () => {
    const affinity = bySession({ sessionIdConfig: { evictionTtlSeconds: 60 } });
    pick(affinity, request("s"), 2);
    pick(affinity, request("s", 50), 0);
    expect(affinity.boundSlot(request("s", 61))).toBe(-1);
  });

  it("tells tenants' sessions apart", () => {
    const affinity = bySession();
    pick(affinity, request("s"), 2);
    const other = request("s", 1, { request: { tenant: "tenant-b" } });
    expect(affinity.boundSlot(other)).toBe(-1);
  });

  it("forgets the endpoints that left", () => {
    const affinity = bySession();
    pick(affinity, request("s"), 2);
    affinity.events.onEndpointRemoved?.(2);
    expect(affinity.boundSlot(request("s", 1))).toBe(-1);
  });

  it("does not take another endpoint in the same slot for the bound one", () => {
    const affinity = bySession();
    pick(affinity, request("s"), 2);
    const context = request("s", 1);
    const pool = {
      endpoint: () => ({ id: "default/new", address: "a:1", engine: "vllm", labels: {} }),
    };
    expect(affinity.boundSlot({ ...context, pool })).toBe(-1);
  });

  it("remembers at most SESSIONS_MAX sessions, those used last", () => {
    const affinity = bySession();
    for (let n = 0; n < SESSIONS_MAX; n++) affinity.events.onPicked?.(request(`s${n}`), n % 3);
    pick(affinity, request("s1", 1), 1);
    affinity.events.onPicked?.(request("one more", 2), 0);
    affinity.events.onPicked?.(request("and another", 2), 0);
    const bound = ["s0", "s1", "s2", "s3", "and another"].map((session) =>
      affinity.boundSlot(request(session, 3)),
    );
    expect(bound).toEqual([-1, 1, -1, 0, 0]);
  });

  it("binds the choice of the named profile, and nothing where that did not run", () => {
    const affinity = bySession({ profileName: "prefill" });
    pick(affinity, request("s", 0, { results: { decode: 0 } }), 0);
    expect(affinity.boundSlot(request("s", 1))).toBe(-1);
    pick(affinity, request("s", 2, { results: { decode: 0, prefill: -1 } }), 0);
    expect(affinity.boundSlot(request("s", 3))).toBe(-1);
    pick(affinity, request("s", 4, { results: { decode: 0, prefill: 1 } }), 0);
    expect(affinity.boundSlot(request("s", 5))).toBe(1);
  });

  it("takes the first source that says something", () => {
    const sources = [{ header: "X-Chat" }, { attribute: "agent-identity" }];
    const affinity = bySession({ sessionIdConfig: { sources } });
    const agent = { "session-id": { value: "agent" } };
    pick(affinity, request("", 0, { data: agent }), 1);
    const chat = { headers: { "x-chat": "chat" } };
    pick(affinity, request("", 1, { data: agent, request: chat }), 2);
    expect(affinity.boundSlot(request("", 2, { data: agent }))).toBe(1);
    expect(affinity.boundSlot(request("", 2, { request: chat }))).toBe(2);
    expect(affinity.boundSlot(request("", 2))).toBe(-1);
  });
});

describe("sessionAffinityTraits", () => {
  it("says what is read", () => {
    const sources = [{ header: "X-Chat" }, { attribute: "SessionIDDataKey" }];
    const params = traits.params.parse({
      strategy: "session_id",
      sessionIdConfig: { sources },
    });
    expect(traits.requestHeaders(params)).toEqual(["x-chat"]);
    expect(traits.consumes(params)).toEqual([
      { key: "session-id", producer: "session-id-producer", isOptional: true },
    ]);
    const defaults = traits.params.parse({ strategy: "session_id" });
    expect(traits.requestHeaders(defaults)).toEqual(["x-session-id"]);
    expect(traits.requestHeaders(traits.params.parse({}))).toEqual(["x-session-token"]);
  });

  it("reads what it printed", () => {
    const params = traits.params.parse({ strategy: "session_id" });
    expect(traits.params.parse(params)).toEqual(params);
  });

  it.for([
    { sources: [{}] },
    { sources: [{ header: "a", attribute: "agent-identity" }] },
    { sources: [{ attribute: "weather" }] },
    { evictionTtlSeconds: 0 },
    { evictionSweepSeconds: -1 },
    { ttl: 1 },
  ])("refuses %j", (sessionIdConfig) => {
    const params = { strategy: "session_id", sessionIdConfig };
    expect(traits.params.safeParse(params).success).toBe(false);
  });
});

// What happens between a prepared request and the first byte, against real sockets: a relay that
// misbehaves on demand, and an address where nobody listens.

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { POOL, type TestAgent, until } from "../../durable/pool-client.ts";
import {
  adminSend,
  AGENT_TOKEN,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
  deploy,
  ISOLATED_KEY,
  MODEL,
  seenAs,
  seenBy,
  send,
  TENANT_KEY,
} from "../support/deployment.ts";

interface LogLine {
  readonly msg: string;
  readonly code?: string;
  readonly detail?: string;
  readonly attempts: number;
  readonly streamEnd?: string;
  readonly status: number;
  readonly requestId: string;
}

let collector: TestAgent;
let lines: LogLine[] = [];

beforeEach(async () => {
  lines = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => {
    lines.push(JSON.parse(line) as LogLine);
  });
  collector = await deploy();
  await adminSend("/admin/v1/settings", { method: "PATCH", body: '{"requestLog":"all"}' });
});

afterEach(() => {
  collector.close();
  vi.restoreAllMocks();
});

async function errorOf(response: Response) {
  const text = await response.text();
  expect(text).not.toContain("relay internals");
  expect(text).not.toContain("load balancer");
  const { error } = JSON.parse(text) as { error: { code: string; message: string } };
  return { status: response.status, code: error.code };
}

describe("what reaches the relay", () => {
  it("is the client's bytes, signed, with our ids and none of the client's headers", async () => {
    const text = `{ "model" : "${MODEL}",\n "messages":[{"role":"user","content":"\\u0048i"}], "x":1e2}`;
    const response = await chat(text, {
      "x-request-id": "mine-3",
      "x-gateway-destination-endpoint": "10.9.9.9:1",
      "x-fairlead-tenant": "someone-else",
      "x-prefiller-host-port": "10.9.9.9:2",
      "x-data-parallel-rank": "3",
      cookie: "a=b",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "vendor=1",
    });
    expect(response.status).toBe(200);
    const { headers, body } = await seenBy(response);
    expect(body).toBe(text);
    expect(headers["x-request-id"]).toBe(response.headers.get("x-fairlead-request-id"));
    expect(headers["x-fairlead-tenant"]).toBe("acme");
    expect(headers["x-gateway-destination-endpoint"]).toMatch(
      /^10\.0\.0\.[12]:8000,10\.0\.0\.[12]:8000$/,
    );
    expect(headers["traceparent"]).toMatch(
      /^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/,
    );
    expect(headers["tracestate"]).toBe("vendor=1");
    for (const name of [
      "authorization",
      "cookie",
      "x-prefiller-host-port",
      "x-data-parallel-rank",
    ]) {
      expect(headers).not.toHaveProperty(name);
    }
  });

  it("has a tenant's own cache_salt in place of the client's", async () => {
    const response = await chat(chatBody({ cache_salt: "shared" }));
    const { cache_salt } = JSON.parse((await seenBy(response)).body) as { cache_salt: string };
    expect(cache_salt).toMatch(/^[0-9a-f]{64}$/);
  });

  it("always has a cache_salt for an isolated tenant", async () => {
    const response = await chat(chatBody(), { authorization: `Bearer ${ISOLATED_KEY}` });
    expect((await seenBy(response)).body).toMatch(/^\{"cache_salt":"[0-9a-f]{64}","model":/);
  });
});

describe("a relay that fails", () => {
  it("is passed over for the next one", async () => {
    await applyConfiguration(configuration([inject("deadUrl"), inject("relayUrl")]));
    for (let i = 0; i < 8; i++) {
      const response = await chat(chatBody());
      expect(response.status).toBe(200);
      await response.body?.cancel();
    }
    // Once found dead it is tried last, but for the one that looks after it when its lease is over.
    const attempts = lines.map((line) => line.attempts);
    expect(attempts.filter((each) => each > 1).length).toBeLessThanOrEqual(3);
  });

  it("is a 502 when there is no other, and leaves no ticket behind", async () => {
    await applyConfiguration(configuration([inject("deadUrl")]));
    const response = await chat(chatBody());
    expect(await errorOf(response)).toEqual({ status: 502, code: "upstream_unavailable" });
    expect(response.headers.get("retry-after")).toBe("1");
    await until(async () => (await env.POOLS.state(POOL)).tickets.open === 0);
  });

  it("gets other endpoints when it could reach none of the listed", async () => {
    await deploy(12);
    const response = await chat(chatBody({ user: "exhausted-once" }));
    expect(response.status).toBe(200);
    expect(lines[0]?.attempts).toBe(2);
    const seen = await seenBy(response);
    const [first, second] = seen.destinations.map((list) => list.split(","));
    expect(first!.length).toBeGreaterThan(1);
    expect(second!.filter((address) => first!.includes(address))).toEqual([]);
    expect(seen.headers["x-fairlead-attempt"]).toBe("2");
  });

  it("is picked for again, with nobody left out, when nobody could prefill", async () => {
    const response = await chat(chatBody({ user: "no-prefill-once" }));
    expect(response.status).toBe(200);
    expect(lines[0]?.attempts).toBe(2);
    const { destinations } = await seenBy(response);
    const [first, second] = destinations.map((list) => list.split(",").toSorted());
    expect(second).toEqual(first);
  });

  it("is a 502 when every endpoint was tried", async () => {
    const response = await chat(chatBody({ user: "decline:exhausted" }));
    expect(await errorOf(response)).toEqual({ status: 502, code: "upstream_unavailable" });
  });

  it("that has ended the request for another is final, and says when to come again", async () => {
    const response = await chat(chatBody({ user: "decline:evicted" }));
    expect(response.headers.get("retry-after")).toBe("7");
    expect(response.headers.get("x-llm-d-request-dropped-reason")).toBe("evicted");
    expect(await errorOf(response)).toEqual({ status: 429, code: "pool_saturated" });
    expect((await seenBy(response)).destinations).toHaveLength(1);
    expect(lines[0]).toMatchObject({ attempts: 1, detail: "evicted" });
    await until(async () => (await env.POOLS.state(POOL)).tickets.open === 0);
  });

  it.for([
    { code: "bad-signature", status: 502, shown: "relay_refused" },
    { code: "replayed", status: 502, shown: "relay_refused" },
    { code: "a-code-of-the-future", status: 502, shown: "relay_refused" },
    { code: "engine-timeout", status: 504, shown: "engine_timeout" },
    { code: "busy", status: 502, shown: "upstream_unavailable" },
  ])("$code is shown as $shown and logged as it is", async ({ code, status, shown }) => {
    const response = await chat(chatBody({ user: `decline:${code}` }));
    expect(await errorOf(response)).toEqual({ status, code: shown });
    expect(lines[0]).toMatchObject({ code: shown, detail: code });
  });

  it("hides an error page from something in between", async () => {
    const response = await chat(chatBody({ user: "error-page" }));
    expect(await errorOf(response)).toEqual({ status: 502, code: "upstream_unavailable" });
  });

  it("passes an engine's own error through", async () => {
    const response = await chat(chatBody({ user: "engine-error" }));
    expect(response.status).toBe(400);
    expect(await response.text()).toBe(
      '{"error":{"message":"max_tokens is too large","type":"BadRequestError","code":400}}',
    );
  });
});

describe("streams", () => {
  it("pass byte for byte", async () => {
    const response = await chat(chatBody({ stream: true }));
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const text = await response.text();
    expect(text).toMatch(/^data: \{.*"Hel".*\}\n\ndata: \{.*"lo".*\}\n\ndata: \[DONE\]\n\n$/);
    await until(() => lines.length === 1);
    expect(lines[0]).toMatchObject({ streamEnd: "complete" });
  });

  it("end with an error event and without [DONE] when the relay is lost", async () => {
    const response = await chat(chatBody({ stream: true, user: "lost" }));
    const text = await response.text();
    const last = text.trimEnd().split("\n\n").at(-1)!.trim();
    expect(JSON.parse(last.slice("data: ".length))).toMatchObject({
      error: {
        code: "upstream_lost",
        type: "server_error",
        param: null,
        request_id: response.headers.get("x-fairlead-request-id"),
      },
    });
    expect(text).not.toContain("[DONE]");
    await until(() => lines.length === 1);
    expect(lines[0]).toMatchObject({ streamEnd: "lost", code: "upstream_lost" });
  });
});

describe("a client that leaves", () => {
  const start = (fields: Readonly<Record<string, unknown>>, signal: AbortSignal) =>
    send("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(chatBody(fields)),
      headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
      signal,
    });

  const openTickets = async () => (await env.POOLS.state(POOL)).tickets.open;

  it("stops the engine mid-stream, and its ticket is held until then", async () => {
    const client = new AbortController();
    const response = await start({ stream: true, user: "endless" }, client.signal);
    const requestId = response.headers.get("x-fairlead-request-id")!;
    const reader = response.body!.getReader();
    await reader.read();
    expect(await openTickets()).toBe(1);
    await reader.cancel();
    client.abort();
    await until(async () => (await seenAs(requestId))?.isClientGone);
    await until(() => lines.length === 1);
    expect(lines[0]).toMatchObject({ streamEnd: "client-left" });
    await until(async () => (await openTickets()) === 0);
  });

  it("stops the engine before the first byte", async () => {
    const client = new AbortController();
    const answer = start({ user: "silent" }, client.signal).catch(() => undefined);
    await until(async () => (await openTickets()) === 1);
    client.abort();
    await answer;
    await until(() => lines.length === 1);
    expect(lines[0]).toMatchObject({ code: "client_closed_request", status: 499 });
    // Null: it left before the relay had it.
    await until(async () => (await seenAs(lines[0]!.requestId))?.isClientGone !== false);
    await until(async () => (await openTickets()) === 0);
  });
});

describe("switches", () => {
  afterEach(async () => {
    await adminSend("/admin/v1/settings", {
      method: "PATCH",
      body: '{"acceptRequests":true,"exposeEndpointHeader":true,"requestLog":"all"}',
    });
  });
  const set = async (patch: string) => {
    const response = await adminSend("/admin/v1/settings", { method: "PATCH", body: patch });
    expect(response.status).toBe(200);
  };

  it("acceptRequests off answers 503 and leaves the rest on", async () => {
    await set('{"acceptRequests":false}');
    const response = await chat(chatBody());
    expect(response.headers.get("retry-after")).toBe("30");
    expect(await errorOf(response)).toEqual({ status: 503, code: "maintenance" });
    const models = await send("/v1/models", { headers: { authorization: `Bearer ${TENANT_KEY}` } });
    expect(models.status).toBe(200);
  });

  it("exposeEndpointHeader off hides the endpoint", async () => {
    await set('{"exposeEndpointHeader":false}');
    const response = await chat(chatBody());
    expect(response.status).toBe(200);
    expect(response.headers.has("x-fairlead-endpoint")).toBe(false);
  });

  it("requestLog errors writes no line for what went well", async () => {
    await set('{"requestLog":"errors"}');
    await (await chat(chatBody())).text();
    await (await chat("{")).text();
    expect(lines.map((line) => line.code)).toEqual(["invalid_json"]);
  });
});

it("an agent's token opens nothing else", async () => {
  const response = await chat(chatBody(), { authorization: `Bearer ${AGENT_TOKEN}` });
  expect(response.status).toBe(401);
});

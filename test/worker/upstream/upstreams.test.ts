// Requests to pools of upstreams: real ones on sockets, through the Worker and the pool's object.

import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, inject, it, vi } from "vitest";
import { POOL, poolStub, until } from "../../durable/pool-client.ts";
import type { UpstreamScript } from "../../durable/upstreams/upstream-server.ts";
import {
  gatewayMetrics,
  scriptUpstream,
  seenByUpstream,
} from "../../durable/upstreams/upstream-scripts.ts";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { HOPS_MAX } from "../../../src/worker/upstream/hops.ts";
import { applyConfiguration, chat, chatBody, configuration, MODEL } from "../support/deployment.ts";

const API_KEY = "upstream-key-0123456789";
const USAGE = {
  prompt_tokens: 21,
  completion_tokens: 5,
  prompt_tokens_details: { cached_tokens: 16 },
};
const ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  choices: [{ message: { content: 'say \\"usage\\": {"prompt_tokens":1}' } }],
  usage: USAGE,
});
const RETRIES = new RegExp(`^${METRIC.workerRetriesTotal.name} (\\d+)`, "m");
const ok = (fields: UpstreamScript = {}): UpstreamScript => ({ body: ANSWER, ...fields });

const upstream = (name: string, fields: object = {}) => ({
  name,
  kind: "openai",
  url: `${inject("upstreamUrl")}/${name}/`,
  apiKey: API_KEY,
  ...fields,
});

interface Options {
  readonly pool?: object;
  readonly tenant?: object;
}

/** A pool of these upstreams, and nothing else. */
async function deploy(upstreams: readonly object[], { pool = {}, tenant = {} }: Options = {}) {
  const { pools, tenants, ...rest } = configuration();
  await applyConfiguration({
    ...rest,
    pools: [{ ...pools[0], relays: [], upstreams, ...pool }],
    tenants: [{ ...tenants[0], ...tenant }],
  });
}

/** The whole answer: one that is not read has not ended, and its ticket is open. */
async function answered(...asked: Parameters<typeof chat>): Promise<number> {
  const response = await chat(...asked);
  await response.arrayBuffer();
  return response.status;
}

const tickets = async () => (await poolStub().state()).tickets;
const settled = () => until(async () => (await tickets()).open === 0);

let number = 0;
/** Names that no other test uses: breakers remember URLs. */
function names(): [string, string] {
  number += 1;
  return [`a${number}`, `b${number}`];
}

describe("a request to an upstream", () => {
  it("is forwarded byte for byte, with our key and nothing of the client's headers", async () => {
    const [a] = names();
    await scriptUpstream(a, ok());
    await deploy([upstream(a)]);
    const body = `{"model":"${MODEL}",  "messages":[{"role":"user","content":"Hi"}]}`;
    const response = await chat(body, {
      "x-fairlead-ticket": "forged",
      "x-llm-d-inference-fairness-id": "forged",
      "x-gateway-destination-endpoint": "10.0.0.1:80",
      cookie: "session=1",
      "x-request-id": "clients-own",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    expect(await response.text()).toBe(ANSWER);
    const [seen] = await seenByUpstream(a);
    expect(seen).toMatchObject({ path: "/v1/chat/completions", body });
    const { headers } = seen!;
    expect(headers).toMatchObject({
      authorization: `Bearer ${API_KEY}`,
      "content-type": "application/json",
      "x-request-id": response.headers.get("x-fairlead-request-id"),
      "x-fairlead-hops": "1",
    });
    expect(headers["traceparent"]).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/);
    expect(JSON.stringify(seen)).not.toContain("forged");
    expect(headers).not.toHaveProperty("cookie");
    expect(headers).not.toHaveProperty("x-gateway-destination-endpoint");
    expect(response.headers.get("x-fairlead-attempts")).toBe("1");
  });

  it("tells who schedules itself whose request it is, and what it was promised", async () => {
    const [a] = names();
    await scriptUpstream(a, ok());
    const objectives = [{ name: "batch", priority: -5 }];
    await deploy([upstream(a, { kind: "gateway" })], {
      pool: { objectives },
      tenant: { trustedHop: true },
    });
    await answered(chatBody(), {
      "x-llm-d-inference-fairness-id": "team-7",
      "x-gateway-inference-objective": "batch",
      "x-llm-d-inference-ttl": "90s",
    });
    await answered(chatBody(), { "x-llm-d-inference-objective": "unknown" });
    const [first, second] = await seenByUpstream(a);
    expect(first!.headers).toMatchObject({
      "x-llm-d-inference-fairness-id": "team-7",
      "x-llm-d-inference-objective": "batch",
      "x-llm-d-inference-ttl": "90000ms",
    });
    expect(second!.headers["x-llm-d-inference-fairness-id"]).toBe("acme");
    expect(second!.headers).not.toHaveProperty("x-llm-d-inference-objective");
  });

  it("goes through a binding where one is named", async () => {
    const [a] = names();
    await deploy([upstream(a, { url: "http://gateway.internal", binding: "PRIVATE_GATEWAY" })]);
    const answer = await (await chat(chatBody())).json<{ url: string }>();
    expect(answer.url).toBe("http://gateway.internal/v1/chat/completions");
  });
});

describe("usage of an answer that nobody else meters", () => {
  const sums = async () => {
    const text = await poolStub().metrics();
    const sum = (name: string) =>
      Number(new RegExp(`^llm_d_epp_${name}_sum\\{[^}]*\\} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
    return [
      sum("request_input_tokens"),
      sum("request_cached_tokens"),
      sum("request_output_tokens"),
    ];
  };
  const STREAM = [
    'data: {"choices":[{"delta":{"content":"Hel"}}],"usage":null}\n\n',
    `data: {"choices":[],"usage":${JSON.stringify(USAGE)}}\n\n`,
    "data: [DONE]\n\n",
  ];

  it("is read from the end of JSON", async () => {
    const [a] = names();
    await scriptUpstream(a, ok());
    await deploy([upstream(a)]);
    const [before, { unsettled }] = [await sums(), await tickets()];
    await answered(chatBody());
    await settled();
    expect((await tickets()).unsettled).toBe(unsettled);
    const after = await sums();
    expect(after.map((sum, i) => sum - before[i]!)).toEqual([21, 16, 5]);
  });

  it("is read from the last event of a stream, which arrives as it is", async () => {
    const [a] = names();
    await scriptUpstream(a, { events: STREAM });
    await deploy([upstream(a)]);
    const before = await sums();
    const response = await chat(chatBody({ stream: true }));
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(await response.text()).toBe(STREAM.join(""));
    await settled();
    const after = await sums();
    expect(after.map((sum, i) => sum - before[i]!)).toEqual([21, 16, 5]);
  });

  it("is left to be estimated where the answer does not tell, or breaks off", async () => {
    const [a] = names();
    await scriptUpstream(a, { events: STREAM.slice(0, 1), isCut: true });
    await deploy([upstream(a)]);
    const before = (await tickets()).unsettled;
    const text = await (await chat(chatBody({ stream: true }))).text();
    expect(text).toContain("upstream_lost");
    await until(async () => (await tickets()).unsettled === before + 1);
    await scriptUpstream(a, { body: '{"choices":[]}' });
    await answered(chatBody());
    await until(async () => (await tickets()).unsettled === before + 2);
  });

  it("is nothing where the upstream refused", async () => {
    const [a] = names();
    await scriptUpstream(a, { status: 400, body: '{"error":{"message":"no"}}' });
    await deploy([upstream(a)]);
    const before = (await tickets()).unsettled;
    const response = await chat(chatBody());
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: { message: "no" } });
    await settled();
    expect((await tickets()).unsettled).toBe(before);
  });

  it("ends with a client that leaves, and so does the upstream's stream", async () => {
    const [a] = names();
    await scriptUpstream(a, { events: STREAM.slice(0, 1), isOpen: true });
    await deploy([upstream(a)]);
    const response = await chat(chatBody({ stream: true }));
    const reader = response.body!.getReader();
    await reader.read();
    expect((await tickets()).open).toBe(1);
    await reader.cancel();
    await until(async () => (await tickets()).open === 0);
    await until(async () => (await seenByUpstream(a))[0]!.isClientGone);
  });
});

describe("failing over before the first byte", () => {
  const FIRST_FAILS: [string, UpstreamScript][] = [
    ["is full", { status: 429, headers: { "retry-after": "7" } }],
    ["is full and says so by 503", { status: 503, headers: { "retry-after": "1" } }],
    ["fails", { status: 500 }],
    ["cuts the connection", { isCut: true }],
    ["does not know our key", { status: 401 }],
    ["redirects", { status: 307, headers: { location: "/elsewhere" } }],
  ];

  it.each(FIRST_FAILS)("goes to the next where one %s", async (_, script) => {
    const [a, b] = names();
    await scriptUpstream(a, script);
    await scriptUpstream(b, ok());
    await deploy([upstream(a), upstream(b)]);
    for (let i = 0; i < 4; i++) expect(await answered(chatBody())).toBe(200);
    expect((await seenByUpstream(b)).length).toBe(4);
    await settled();
  });

  it("goes to the next where nobody listens", async () => {
    const [, b] = names();
    await scriptUpstream(b, ok());
    await deploy([upstream("gone", { url: inject("deadUrl") }), upstream(b)]);
    for (let i = 0; i < 3; i++) expect(await answered(chatBody())).toBe(200);
  });

  it("gives the client the word of the last one that is full", async () => {
    const [a, b] = names();
    const full = { status: 429, headers: { "retry-after": "7" }, body: '{"error":{"code":"x"}}' };
    await scriptUpstream(a, full);
    await scriptUpstream(b, full);
    await deploy([upstream(a), upstream(b)]);
    const response = await chat(chatBody());
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("7");
    await response.arrayBuffer();
    expect([(await seenByUpstream(a)).length, (await seenByUpstream(b)).length]).toEqual([1, 1]);
  });

  it("leaves one alone for a moment that was full, and pays no retry for it", async () => {
    const [a, b] = names();
    await scriptUpstream(a, { status: 429 });
    await scriptUpstream(b, ok());
    await deploy([upstream(a), upstream(b)]);
    const before = metrics.render().match(RETRIES)?.[1];
    for (let i = 0; i < 6; i++) expect(await answered(chatBody())).toBe(200);
    // More than one only where the moment was over.
    expect((await seenByUpstream(a)).length).toBeLessThan(4);
    expect(metrics.render().match(RETRIES)?.[1]).toBe(before);
  });

  it("tells of a rate limit where more are full than it asks", async () => {
    const four = [...names(), ...names()];
    const full = { status: 429, headers: { "retry-after": "7" } };
    for (const name of four) await scriptUpstream(name, full);
    await deploy(four.map((name) => upstream(name)));
    const response = await chat(chatBody());
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("7");
    expect(await response.json()).toMatchObject({ error: { code: "pool_saturated" } });
  });

  it("asks one that was full where the others fail", async () => {
    const [a, b] = names();
    await scriptUpstream(a, { status: 429 });
    await scriptUpstream(b, ok());
    await deploy([upstream(a), upstream(b)]);
    while ((await seenByUpstream(a)).length === 0) await answered(chatBody());
    await scriptUpstream(a, ok());
    await scriptUpstream(b, { status: 500 });
    expect(await answered(chatBody())).toBe(200);
    expect((await seenByUpstream(b)).length).toBeGreaterThan(0);
  });

  it("goes by each one's own mark where two have one URL", async () => {
    const [a] = names();
    const [wrong, right] = names();
    await scriptUpstream(a, ok());
    const url = `${inject("upstreamUrl")}/${a}/`;
    await deploy([upstream(wrong, { url, binding: "NOT_THERE" }), upstream(right, { url })]);
    const lines = vi.spyOn(console, "log").mockImplementation(() => undefined);
    for (let i = 0; i < 4; i++) expect(await answered(chatBody())).toBe(200);
    const faults = lines.mock.calls.filter(([line]) => String(line).includes("NOT_THERE"));
    lines.mockRestore();
    expect(faults).toHaveLength(1);
  });

  it("follows no redirect", async () => {
    const [a, b] = names();
    await scriptUpstream(b, ok());
    const location = `${inject("upstreamUrl")}/${b}/v1/chat/completions`;
    await scriptUpstream(a, { status: 308, headers: { location } });
    await deploy([upstream(a)]);
    const response = await chat(chatBody());
    expect(response.status).toBe(502);
    await response.arrayBuffer();
    expect(await seenByUpstream(b)).toEqual([]);
  });

  it("prefers a gateway with a shorter queue", async () => {
    const [a, b] = names();
    await scriptUpstream(a, ok({ metrics: gatewayMetrics(12) }));
    await scriptUpstream(b, ok({ metrics: gatewayMetrics(0) }));
    const gateway = (name: string) => {
      const url = `${inject("upstreamUrl")}/${name}/metrics`;
      return upstream(name, { kind: "gateway", metrics: { url, intervalMs: 200 } });
    };
    const scheduler = {
      plugins: [{ type: "queue-scorer" }],
      schedulingProfiles: [
        { name: "default", plugins: [{ pluginRef: "queue-scorer", weight: 1 }] },
      ],
    };
    await deploy([gateway(a), gateway(b)], { pool: { scheduler } });
    await until(async () => {
      const { endpoints } = await poolStub().state();
      return endpoints.length === 2 && endpoints.every(({ isFresh }) => isFresh);
    });
    for (let i = 0; i < 5; i++) await answered(chatBody());
    const asked = (await seenByUpstream(a)).filter(({ path }) => path !== "/metrics");
    expect(asked).toEqual([]);
  });
});

describe("what is the operator's to mend", () => {
  beforeEach(() => void vi.restoreAllMocks());

  it.each([
    ["an upstream that refuses our key", {}, "its apiKey is missing, wrong, or not allowed"],
    ["a binding that is not there", { binding: "NOT_THERE" }, "no binding NOT_THERE"],
  ])("is told of %s in the log, and the client of nothing", async (_, fields, expected) => {
    const [a] = names();
    await scriptUpstream(a, { status: 401, body: `{"error":"key ${API_KEY} is unknown"}` });
    await deploy([upstream(a, fields)]);
    const lines = vi.spyOn(console, "log").mockImplementation(() => undefined);
    const response = await chat(chatBody());
    expect(response.status).toBe(502);
    const text = await response.text();
    expect(text).not.toContain(API_KEY);
    expect(text).not.toContain(a);
    const logged = lines.mock.calls.join("\n");
    expect(logged).toContain(expected);
    expect(logged).toContain(a);
    expect(logged).not.toContain(API_KEY);
  });

  it("does not show in a pool's state, its metrics or its decisions", async () => {
    const [a] = names();
    await scriptUpstream(a, ok());
    await deploy([upstream(a)]);
    const response = await chat(chatBody());
    await response.arrayBuffer();
    const id = response.headers.get("x-fairlead-request-id")!;
    const shown = [await poolStub().state(), await env.POOLS.explain(POOL, id)];
    expect(JSON.stringify(shown)).toContain(a);
    expect(JSON.stringify(shown) + (await poolStub().metrics())).not.toContain(API_KEY);
  });
});

describe("a request that has come round", () => {
  it("is refused, and not to be sent again", async () => {
    const [a, b] = names();
    await scriptUpstream(a, ok());
    await scriptUpstream(b, ok());
    await deploy([upstream(a), upstream(b)]);
    expect(await answered(chatBody(), { "x-fairlead-hops": String(HOPS_MAX - 1) })).toBe(200);
    const response = await chat(chatBody(), { "x-fairlead-hops": String(HOPS_MAX) });
    expect(response.status).toBe(508);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await response.json()).toMatchObject({ error: { code: "loop_detected" } });
    const asked = [...(await seenByUpstream(a)), ...(await seenByUpstream(b))];
    expect(asked.map(({ headers }) => headers["x-fairlead-hops"])).toEqual([String(HOPS_MAX)]);
  });

  it("is refused also where the upstream notices, without asking another one", async () => {
    const [a, b] = names();
    await scriptUpstream(a, { status: 508 });
    await scriptUpstream(b, { status: 508 });
    await deploy([upstream(a), upstream(b)]);
    expect(await answered(chatBody())).toBe(508);
    expect((await seenByUpstream(a)).length + (await seenByUpstream(b)).length).toBe(1);
  });

  it("counts what is no number as the most", async () => {
    const [a] = names();
    await scriptUpstream(a, ok());
    await deploy([upstream(a)]);
    expect(await answered(chatBody(), { "x-fairlead-hops": "-1" })).toBe(508);
  });
});

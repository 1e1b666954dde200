// What a pool's object is told of a request, and what comes back with its grant.

import { describe, expect, inject, it } from "vitest";
import type { PickRequest, PoolPort } from "../../../src/durable/contract.ts";
import { parseDeployment } from "../../../src/config/deployment.ts";
import { createCall } from "../../../src/worker/call.ts";
import { DirectoryIndex } from "../../../src/worker/directory-index.ts";
import { openaiParser } from "../../../src/worker/openai/openai-parser.ts";
import { prepareFor } from "../../../src/worker/parsers/preparation.ts";
import { RequestTelemetry } from "../../../src/worker/telemetry.ts";
import { dispatch } from "../../../src/worker/upstream/dispatch.ts";
import { RELAY_KEY } from "../support/relay-key.ts";

const PATH = "/v1/chat/completions";
const IMAGE = { type: "image_url", image_url: { url: "https://example.com/a.png" } };
const ENDPOINTS = ["10.0.0.1:8000", "10.0.0.2:8000"];

function directory(): DirectoryIndex {
  const parsed = parseDeployment({
    version: 1,
    pools: [
      {
        name: "p",
        region: "eu",
        models: ["m"],
        agentToken: "agent-token-0123456789",
        relays: [{ url: inject("relayUrl"), keys: [RELAY_KEY] }],
      },
    ],
    tenants: [{ id: "t", keys: ["a-key-0123456789"] }],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return new DirectoryIndex(1, parsed.value);
}

/** Dispatches a request with these headers, of which the pool wants some, and says what was picked with. */
async function pickedWith(headers: Record<string, string>, wanted: readonly string[] = []) {
  const asked: PickRequest[] = [];
  const port: PoolPort = {
    pick: (request) => {
      asked.push(request);
      return Promise.resolve({
        ok: true,
        ticket: `t-${crypto.randomUUID()}`,
        endpoints: ENDPOINTS,
        objectEpoch: "e",
        responseHeaders: [{ name: "x-session-token", values: ["first", "second"] }],
        handle: { release: () => Promise.resolve(), learn: () => Promise.resolve() },
        [Symbol.dispose]: () => undefined,
      });
    },
    leave: () => Promise.resolve(),
  };
  const messages = [{ role: "user", content: [IMAGE] }];
  const bytes = Uint8Array.from(new TextEncoder().encode(JSON.stringify({ model: "m", messages })));
  const request = new Request("https://fairlead.test", { headers });
  const input = { path: PATH, bytes, headers: request.headers };
  const parsed = openaiParser.parse(input);
  if (!parsed.ok) throw new Error(parsed.error.message);
  const call = createCall(request);
  const tenant = {
    id: "t",
    priority: 0,
    weight: 1,
    isolated: false,
    trustedHop: false,
    regions: ["*"],
    models: ["*"],
  };
  const pool = { ...directory().pool("p")!, requestHeaders: wanted };
  const dispatched = await dispatch({
    call,
    telemetry: new RequestTelemetry(call, PATH),
    tenant,
    prepare: await prepareFor(parsed.value, { parser: openaiParser, input, tenant, models: ["m"] }),
    routes: [{ pool, model: "m", rewrite: null }],
    headers: request.headers,
    port: () => port,
    signal: request.signal,
    hold: () => undefined,
  });
  if (!dispatched.ok) throw new Error(dispatched.error.message);
  await dispatched.response.body?.cancel();
  return { request: asked[0]!.request, grant: dispatched.grant };
}

describe("a pick", () => {
  it("is asked for with the headers the pool wants, objectives and media", async () => {
    const headers = { "x-session-id": "s1", "x-llm-d-slo-ttft-ms": "250", "x-other": "o" };
    const { request } = await pickedWith(headers, ["x-session-id"]);
    expect(request).toMatchObject({ headers: { "x-session-id": "s1" }, ttftSloMs: 250 });
    expect(request.media?.tokens).toEqual(new Uint32Array([225]));
    expect(request).not.toHaveProperty("tpotSloMs");
  });

  it("is asked for without what the request does not have", async () => {
    const { request } = await pickedWith({});
    expect(request).not.toHaveProperty("headers");
    expect(request).not.toHaveProperty("subset");
  });

  it("never takes a subset from a client", async () => {
    const name = "x-gateway-destination-endpoint-subset";
    const { request } = await pickedWith({ [name]: "10.9.9.9" }, [name]);
    expect(request).not.toHaveProperty("subset");
    expect(request).not.toHaveProperty("headers");
  });

  it("brings the headers that plugins set", async () => {
    const { grant } = await pickedWith({});
    expect(grant.responseHeaders).toEqual([
      { name: "x-session-token", values: ["first", "second"] },
    ]);
  });
});

// A deployment under test: applied through the admin API, with one pool whose endpoints a collector
// has reported, and a relay on a real socket.

import { env, exports } from "cloudflare:workers";
import { inject } from "vitest";
import { endpoint, POOL, TestAgent, until } from "../../durable/pool-client.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";
import { RELAY_KEY } from "./relay-key.ts";
import type { Seen } from "./relay-server.ts";

export const MODEL = "acme/chat-8b";
export const TENANT_KEY = "tenant-key-0123456789";
export const ISOLATED_KEY = "isolated-key-0123456789";
export const AGENT_TOKEN = "agent-token-0123456789";
export const BODY_BYTES_MAX = 1024 * 1024;

/** As a client sends it, to the Worker itself. */
export function send(path: string, init: RequestInit = {}): Promise<Response> {
  return exports.default.fetch(new Request(`https://fairlead.test${path}`, init));
}

export function adminSend(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${env.FAIRLEAD_ADMIN_KEY}`);
  if (init.body !== undefined) headers.set("content-type", "application/json");
  return send(path, { ...init, headers });
}

/** A configuration as a person writes it; `relays` in the order of the pool. */
export function configuration(relays: readonly string[] = [inject("relayUrl")]) {
  const pool = {
    name: POOL,
    region: "eu",
    models: [MODEL],
    agentToken: AGENT_TOKEN,
    // On a busy machine the object is far enough away for some picks to be made at the edge.
    decide: "consult",
    relays: relays.map((url) => ({ url, keys: [RELAY_KEY] })),
  };
  return {
    version: 1,
    pools: [
      pool,
      { ...pool, name: "us-1", region: "us", models: ["acme/us-only"] },
      { ...pool, name: "eu-empty", models: ["acme/nobody-home"] },
    ],
    tenants: [
      { id: "acme", keys: [TENANT_KEY], priority: 3, salt: "acme-salt-0123456789" },
      {
        id: "sealed",
        keys: [ISOLATED_KEY],
        salt: "sealed-salt-0123456789",
        isolated: true,
        regions: ["eu"],
        models: [MODEL],
      },
    ],
    limits: { bodyBytesMax: BODY_BYTES_MAX },
  };
}

export async function applyConfiguration(config: unknown): Promise<void> {
  const put = await adminSend("/admin/v1/config", { method: "PUT", body: JSON.stringify(config) });
  if (put.status !== 200) throw new Error(await put.text());
}

/** Applies a configuration and reports `count` idle endpoints to the pool `eu-1`. */
export async function deploy(count = 2, relays?: readonly string[]): Promise<TestAgent> {
  await applyConfiguration(configuration(relays));
  const collector = await TestAgent.greeted();
  const endpoints = Array.from({ length: count }, (_, i) => endpoint(i + 1));
  collector.membership(endpoints);
  collector.metrics(endpoints.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
  await until(async () => {
    const state = await env.POOLS.state(POOL);
    return state.endpoints.length === count && state.endpoints.every((each) => each.isFresh);
  });
  return collector;
}

/**
 * Until the pool's own object has told the directory of itself. One without agents then falls silent: what
 * a test reports in its place is not voided by it any more.
 */
export async function heardOf(pool: string): Promise<void> {
  await until(async () => {
    const { pools } = await env.CONTROL.readConfig(-1, { epoch: "", revision: 0, digests: [] });
    return pools!.summaries.some(({ json }) => (JSON.parse(json) as PoolSummary).pool === pool);
  });
}

/** Posts a chat body as tenant `acme`; a string is sent as it is. */
export function chat(body: unknown, headers: Readonly<Record<string, string>> = {}) {
  return send("/v1/chat/completions", {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: {
      authorization: `Bearer ${TENANT_KEY}`,
      "content-type": "application/json",
      ...headers,
    },
  });
}

/** A chat body that is right; `user` is the script the test's relay follows. */
export function chatBody(fields: Readonly<Record<string, unknown>> = {}) {
  return { model: MODEL, messages: [{ role: "user", content: "Hi" }], ...fields };
}

/** What the relay saw of the request with this answer. */
export async function seenBy(response: Response): Promise<Seen> {
  const id = response.headers.get("x-fairlead-request-id");
  return (await seenAs(id!))!;
}

/** Null: nothing of that request has reached the relay. */
export async function seenAs(requestId: string): Promise<Seen | null> {
  const seen = await fetch(`${inject("relayUrl")}/seen/${requestId}`);
  return seen.json<Seen | null>();
}

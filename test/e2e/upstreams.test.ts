// A Fairlead as an upstream of a Fairlead: real processes, through the front and back in.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, type Fairlead, startFairlead } from "./harness.ts";

/** A name that only the pool of upstreams serves, and the other side's engines by their own. */
const THROUGH = "through-another";
/** A name that only an upstream serves, which is the same Fairlead again. */
const ROUND = "round-and-round";
const HOP_KEY = "hop-key-0123456789-hop";

let fairlead: Fairlead;

interface Stored {
  readonly config: {
    readonly pools: readonly Record<string, unknown>[];
    readonly tenants: readonly Record<string, unknown>[];
  };
}

async function configureUpstreams(): Promise<void> {
  const { config } = (await fairlead.admin("/config")) as Stored;
  const upstream = { name: "another", kind: "fairlead", url: fairlead.url, apiKey: HOP_KEY };
  const agentToken = "agent-token-nobody-uses";
  const pool = { region: "elsewhere", agentToken, upstreams: [upstream] };
  const rewrite = {
    name: "through",
    rules: [
      { matches: [{ model: { value: THROUGH } }], targets: [{ modelRewrite: fairlead.model }] },
    ],
  };
  const response = await fairlead.fetch("/admin/v1/config", {
    method: "PUT",
    headers: {
      authorization: `Bearer ${fairlead.adminKey}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({
      ...config,
      pools: [
        ...config.pools,
        { ...pool, name: "hub", models: ["hubs-own"], modelRewrites: [rewrite] },
        { ...pool, name: "round", models: [ROUND] },
      ],
      tenants: [...config.tenants, { id: "hop", keys: [HOP_KEY], trustedHop: true }],
    }),
  });
  if (!response.ok) throw new Error(await response.text());
}

beforeAll(async () => {
  fairlead = await startFairlead("--engines", "1");
  await configureUpstreams();
  await eventually("the names are served", async () => {
    const models = await fairlead.client.models.list();
    const ids = models.data.map(({ id }) => id);
    return ids.includes(THROUGH) && ids.includes(ROUND) ? true : undefined;
  });
});
afterAll(() => fairlead[Symbol.asyncDispose]());

const messages = [{ role: "user" as const, content: "Tell me of hops." }];

async function tickets(pool: string) {
  const state = (await fairlead.admin(`/pools/${pool}`)) as {
    readonly tickets: { readonly open: number; readonly unsettled: number };
  };
  return state.tickets;
}

describe("a Fairlead behind a Fairlead", () => {
  it("answers whole, and the ticket is settled by what the answer says", async () => {
    const answer = await fairlead.client.chat.completions.create({ model: THROUGH, messages });
    expect(answer.choices[0]?.message.content).not.toBe("");
    expect(answer.usage!.completion_tokens).toBeGreaterThan(0);
    await eventually("it is settled", async () => {
      const { open, unsettled } = await tickets("hub");
      return open === 0 && unsettled === 0 ? true : undefined;
    });
  });

  it("streams, with usage where the client asks for it", async () => {
    const stream = await fairlead.client.chat.completions.create({
      model: THROUGH,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let completionTokens = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      completionTokens = chunk.usage?.completion_tokens ?? completionTokens;
    }
    expect(text).not.toBe("");
    expect(completionTokens).toBeGreaterThan(0);
    await eventually("it is settled", async () => {
      const { open, unsettled } = await tickets("hub");
      return open === 0 && unsettled === 0 ? true : undefined;
    });
  });

  it("ends a request that goes round", async () => {
    const response = await fairlead.fetch("/v1/chat/completions", {
      method: "POST",
      headers: { authorization: `Bearer ${HOP_KEY}`, "content-type": "application/json" },
      body: JSON.stringify({ model: ROUND, messages }),
    });
    expect(response.status).toBe(508);
    expect(await response.json()).toMatchObject({ error: { code: "loop_detected" } });
  });
});

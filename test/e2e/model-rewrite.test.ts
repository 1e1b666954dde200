// A rewritten model from the client to an engine and back: Worker, object, relay and engine as they run.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, type Fairlead, startFairlead } from "./harness.ts";

const CLIENT_NAME = "fast, “cheap” and good";
const CANARY_NAME = "canary";

let fairlead: Fairlead;

interface Stored {
  readonly config: { readonly pools: readonly Record<string, unknown>[] };
}

/** Puts the running configuration back, with rewrites added to its pool while it serves. */
async function configureRewrites(): Promise<void> {
  const { config } = (await fairlead.admin("/config")) as Stored;
  const exact = (value: string) => [{ model: { value } }];
  const modelRewrites = [
    {
      name: "names",
      rules: [
        { matches: exact(CLIENT_NAME), targets: [{ modelRewrite: fairlead.model }] },
        { matches: exact(CANARY_NAME), targets: [{ modelRewrite: "nobody-serves-this" }] },
      ],
    },
  ];
  const response = await fairlead.fetch("/admin/v1/config", {
    method: "PUT",
    headers: {
      authorization: `Bearer ${fairlead.adminKey}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({
      ...config,
      pools: config.pools.map((pool) => ({ ...pool, modelRewrites })),
    }),
  });
  if (!response.ok) throw new Error(await response.text());
}

beforeAll(async () => {
  fairlead = await startFairlead("--engines", "1");
  await configureRewrites();
  await eventually("the name is served", async () => {
    const models = await fairlead.client.models.list();
    return models.data.some(({ id }) => id === CLIENT_NAME) ? true : undefined;
  });
});
afterAll(() => fairlead[Symbol.asyncDispose]());

const messages = [{ role: "user" as const, content: `Say "model":"${"x".repeat(20)}" again.` }];

describe("a model that clients know by another name", () => {
  it("is that name in a whole answer", async () => {
    const answer = await fairlead.client.chat.completions.create({ model: CLIENT_NAME, messages });
    expect(answer.model).toBe(CLIENT_NAME);
    expect(answer.choices[0]?.message.content).not.toBe("");
  });

  it("is that name in every chunk of a stream", async () => {
    const stream = await fairlead.client.chat.completions.create({
      model: CLIENT_NAME,
      messages,
      stream: true,
      max_tokens: 16,
    });
    const names: string[] = [];
    for await (const chunk of stream) names.push(chunk.model);
    expect(names.length).toBeGreaterThan(2);
    expect(new Set(names)).toEqual(new Set([CLIENT_NAME]));
  });

  it("is the engine's own to the engine, to usage and to who explains", async () => {
    const { response, data } = await fairlead.client.chat.completions
      .create({ model: CANARY_NAME, messages })
      .withResponse()
      .catch((error: { status: number; headers: Headers }) => ({
        response: { status: error.status, headers: error.headers },
        data: undefined,
      }));
    // The engine has never heard of it, and says so itself.
    expect(data).toBeUndefined();
    expect(response.status).toBe(404);
    const id = response.headers.get("x-fairlead-request-id");
    expect(JSON.stringify(await fairlead.admin(`/explain/${id}`))).toContain("nobody-serves-this");
  });

  it("leaves the engine's own name as it was", async () => {
    const answer = await fairlead.client.chat.completions.create({
      model: fairlead.model,
      messages,
    });
    expect(answer.model).toBe(fairlead.model);
  });
});

// InferenceModelRewrite on the whole way through the Worker, with a relay on a real socket.

import { env } from "cloudflare:workers";
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  inject,
  it,
  vi,
} from "vitest";
import { decodeModelName } from "../../src/agents/protocol/model-name.ts";
import { MODEL_REWRITE_HEADERS } from "../../src/scheduler/rewrite/model-rewrites.ts";
import type { TestAgent } from "../durable/pool-client.ts";
import { POOL, until } from "../durable/pool-client.ts";
import {
  adminSend,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
  deploy,
  ISOLATED_KEY,
  MODEL,
  seenBy,
  send,
  TENANT_KEY,
} from "./support/deployment.ts";
import { FORMER_RELAY_PATH } from "./support/relay-key.ts";

const exact = (...values: string[]) => values.map((value) => ({ model: { value } }));
const REWRITES = [
  {
    name: "aliases",
    creationTimestamp: "2026-01-01T00:00:00Z",
    rules: [
      { matches: exact("fast", "schnell ü"), targets: [{ modelRewrite: "acme/chat-8b-v2" }] },
      {
        matches: exact("split"),
        targets: [
          { modelRewrite: "acme/a", weight: 3 },
          { modelRewrite: "acme/b", weight: 1 },
        ],
      },
      { matches: exact("same"), targets: [{ modelRewrite: "same" }] },
    ],
  },
];
const GENERIC = { name: "rest", rules: [{ targets: [{ modelRewrite: "acme/default" }] }] };

let collector: TestAgent;

async function rewriteWith(modelRewrites: unknown, relays?: readonly string[]): Promise<void> {
  const config = configuration(relays);
  const pools = config.pools.map((pool) =>
    pool.name === POOL ? { ...pool, modelRewrites } : pool,
  );
  await applyConfiguration({ ...config, pools });
}

beforeAll(async () => {
  collector = await deploy();
  await rewriteWith(REWRITES);
});
afterAll(() => collector.close());

async function sentFor(fields: Readonly<Record<string, unknown>>) {
  const response = await chat(chatBody(fields));
  expect(response.status).toBe(200);
  await response.body?.cancel();
  const { headers, body } = await seenBy(response);
  const name = headers["x-fairlead-client-model"];
  return {
    body,
    model: (JSON.parse(body) as { model: string }).model,
    clientModel: name === undefined ? undefined : decodeModelName(name),
  };
}

describe("a model that is rewritten", () => {
  it.for(["fast", "schnell ü"])(
    "is the target's in the body, and %s to the relay",
    async (model) => {
      expect(await sentFor({ model })).toMatchObject({
        model: "acme/chat-8b-v2",
        clientModel: model,
      });
    },
  );

  it("changes no other byte", async () => {
    const text = `{ "x":1e0, "model" : "fast" ,"messages":[{"role":"user","content":"fast"}]}`;
    const response = await chat(text);
    await response.body?.cancel();
    expect((await seenBy(response)).body).toBe(text.replace('"fast" ', '"acme/chat-8b-v2" '));
  });

  it("is drawn by weight", async () => {
    const counts: Record<string, number> = {};
    for (let i = 0; i < 60; i++) {
      const { model } = await sentFor({ model: "split" });
      counts[model] = (counts[model] ?? 0) + 1;
    }
    expect(Object.keys(counts).toSorted()).toEqual(["acme/a", "acme/b"]);
    expect(counts["acme/a"]).toBeGreaterThan(counts["acme/b"]!);
  });

  it("is told to the relay only where the name differs", async () => {
    expect(await sentFor({ model: "same" })).toMatchObject({ model: "same" });
    expect((await sentFor({ model: "same" })).clientModel).toBeUndefined();
    expect((await sentFor({ model: MODEL })).clientModel).toBeUndefined();
  });

  it("is listed as the client calls it", async () => {
    const list = await send("/v1/models", { headers: { authorization: `Bearer ${TENANT_KEY}` } });
    const { data } = await list.json<{ data: { id: string }[] }>();
    const names = data.map(({ id }) => id);
    expect(names).toEqual(expect.arrayContaining([MODEL, "fast", "split", "schnell ü"]));
    expect(names).not.toContain("acme/chat-8b-v2");
  });

  it("is counted", async () => {
    await sentFor({ model: "fast" });
    const metrics = await (await adminSend("/metrics")).text();
    expect(metrics).toMatch(
      /^llm_d_epp_model_rewrite_decisions_total\{model_rewrite_name="aliases",model_name="fast",target_model="acme\/chat-8b-v2"\} [1-9]/m,
    );
    expect(metrics).toMatch(
      /^llm_d_epp_request_total\{model_name="fast",target_model_name="acme\/chat-8b-v2"/m,
    );
  });

  it("is what the object decides by", async () => {
    const response = await chat(chatBody({ model: "fast" }));
    await response.body?.cancel();
    const metrics = await until(async () => {
      const text = await env.POOLS.metrics(POOL);
      return text.includes('target_model_name="acme/chat-8b-v2"') ? text : undefined;
    });
    expect(metrics).not.toContain('target_model_name="fast"');
  });
});

describe("who may use it", () => {
  it("is who may use the client's name", async () => {
    const response = await chat(chatBody({ model: "fast" }), {
      authorization: `Bearer ${ISOLATED_KEY}`,
    });
    expect(response.status).toBe(404);
    await response.body?.cancel();
  });

  it("does not say what the name stands for", async () => {
    const response = await chat(chatBody({ model: "acme/chat-8b-v2" }));
    expect(response.status).toBe(404);
    await response.body?.cancel();
  });

  it.for([...MODEL_REWRITE_HEADERS])("is not decided by a client's own %s", async (name) => {
    const response = await chat(chatBody({ model: MODEL }), { [name]: "acme/secret" });
    await response.body?.cancel();
    const { headers, body } = await seenBy(response);
    expect((JSON.parse(body) as { model: string }).model).toBe(MODEL);
    expect(headers).not.toHaveProperty(name);
  });
});

describe("a relay from before rewrites", () => {
  const former = () => `${inject("relayUrl")}${FORMER_RELAY_PATH}`;

  // Relays are tried in the order of the configuration, beginning anywhere: here with the first.
  beforeEach(() => void vi.spyOn(Math, "random").mockReturnValue(0));
  afterEach(() => vi.restoreAllMocks());
  afterAll(() => rewriteWith(REWRITES));

  it("is passed over for the next one", async () => {
    await rewriteWith(REWRITES, [former(), inject("relayUrl")]);
    expect(await sentFor({ model: "fast" })).toMatchObject({ clientModel: "fast" });
  });

  it("serves what is not rewritten", async () => {
    await rewriteWith(REWRITES, [former()]);
    expect((await sentFor({ model: MODEL })).clientModel).toBeUndefined();
  });

  it("refuses for good where there is no other", async () => {
    const response = await chat(chatBody({ model: "fast" }));
    expect(response.status).toBe(502);
    const { error } = await response.json<{ error: { code: string } }>();
    expect(error.code).toBe("relay_refused");
  });
});

describe("a body without a model", () => {
  it("is a 400 where only exact rules are", async () => {
    const response = await chat(chatBody({ model: undefined }));
    expect(response.status).toBe(400);
    const { error } = await response.json<{ error: { code: string; param: string } }>();
    expect(error).toMatchObject({ code: "invalid_value", param: "model" });
  });

  it("gets the target of a generic rule", async () => {
    await rewriteWith([...REWRITES, GENERIC]);
    const sent = await sentFor({ model: undefined });
    expect(sent).toMatchObject({ model: "acme/default" });
    expect(sent.clientModel).toBeUndefined();
    expect((await sentFor({ model: MODEL })).model).toBe("acme/default");
    expect((await sentFor({ model: "fast" })).model).toBe("acme/chat-8b-v2");
    await rewriteWith(REWRITES);
  });
});

it("takes a slash at the end of the path, which the engine does not see", async () => {
  const response = await send("/v1/chat/completions/?x=1", {
    method: "POST",
    body: JSON.stringify(chatBody()),
    headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
  });
  // The relay signs over the path it was asked for: a wrong one would be a refusal.
  expect(response.status).toBe(200);
  await response.body?.cancel();
});

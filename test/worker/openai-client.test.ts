// The client people use, unmodified, against the Worker.

import OpenAI from "openai";
import { beforeAll, expect, it } from "vitest";
import { deploy, MODEL, send, TENANT_KEY } from "./support/deployment.ts";

beforeAll(async () => {
  await deploy();
});

function client(apiKey = TENANT_KEY, defaultHeaders: Record<string, string> = {}): OpenAI {
  return new OpenAI({
    apiKey,
    baseURL: "https://fairlead.test/v1",
    maxRetries: 0,
    defaultHeaders,
    fetch: (input, init) => {
      const { pathname } = new URL(input as string);
      return send(pathname, init as RequestInit);
    },
  });
}

const messages = [{ role: "user" as const, content: "Hi" }];

it("gets an answer", async () => {
  const { data, response, request_id } = await client()
    .chat.completions.create({ model: MODEL, messages })
    .withResponse();
  expect(data.choices[0]?.message.content).toBe("Hello");
  expect(request_id).toMatch(/^fl-[0-9a-f]{8}-00-[0-9a-f]{32}$/);
  expect(response.headers.get("x-fairlead-request-id")).toBe(request_id);
  expect(response.headers.get("x-fairlead-endpoint")).toMatch(/^10\.0\.0\.[12]:8000$/);
  expect(response.headers.get("x-engine-internal")).toBeNull();
});

it("gets a stream", async () => {
  const stream = await client().chat.completions.create({ model: MODEL, messages, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  expect(text).toBe("Hello");
});

it("gets a legacy completion", async () => {
  const { response } = await client()
    .completions.create({ model: MODEL, prompt: "Hi" })
    .withResponse();
  expect(response.status).toBe(200);
});

it("throws when a stream is lost, with a code", async () => {
  const stream = await client().chat.completions.create({
    model: MODEL,
    messages,
    stream: true,
    user: "lost",
  });
  let text = "";
  const reading = (async () => {
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  })();
  await expect(reading).rejects.toMatchObject({ code: "upstream_lost" });
  await expect(reading).rejects.toBeInstanceOf(OpenAI.APIError);
  expect(text).toBe("Hello");
});

it("sees its own request id", async () => {
  const { request_id, response } = await client(TENANT_KEY, { "x-request-id": "mine-1" })
    .chat.completions.create({ model: MODEL, messages })
    .withResponse();
  expect(request_id).toBe("mine-1");
  expect(response.headers.get("x-fairlead-request-id")).toMatch(/^fl-/);
});

it("lists and finds models", async () => {
  const ids: string[] = [];
  for await (const model of client().models.list()) ids.push(model.id);
  expect(ids).toEqual([MODEL, "acme/us-only", "acme/nobody-home"]);
  expect(await client().models.retrieve(MODEL)).toMatchObject({ id: MODEL, object: "model" });
});

it.for([
  {
    name: "a wrong key",
    run: () => client("not-a-key-at-all").chat.completions.create({ model: MODEL, messages }),
    error: OpenAI.AuthenticationError,
    facts: { status: 401, code: "invalid_api_key" },
  },
  {
    name: "an unknown model",
    run: () => client().chat.completions.create({ model: "no-such-model", messages }),
    error: OpenAI.NotFoundError,
    facts: { status: 404, code: "model_not_found", param: "model" },
  },
  {
    name: "an unknown model looked up",
    run: () => client().models.retrieve("no-such-model"),
    error: OpenAI.NotFoundError,
    facts: { status: 404, code: "model_not_found" },
  },
  {
    name: "a wrong type",
    run: () => client().chat.completions.create({ model: MODEL, messages, n: 0 }),
    error: OpenAI.BadRequestError,
    facts: { status: 400, code: "invalid_value", param: "n", type: "invalid_request_error" },
  },
  {
    name: "a path that is not served",
    run: () => client().embeddings.create({ model: MODEL, input: "x" }),
    error: OpenAI.NotFoundError,
    facts: { status: 404, code: "not_found" },
  },
  {
    name: "a pool without endpoints",
    run: () => client().chat.completions.create({ model: "acme/nobody-home", messages }),
    error: OpenAI.InternalServerError,
    facts: { status: 503, code: "no_endpoints", type: "server_error" },
  },
  {
    name: "an engine's own error",
    run: () => client().chat.completions.create({ model: MODEL, messages, user: "engine-error" }),
    error: OpenAI.BadRequestError,
    facts: { status: 400, code: 400, type: "BadRequestError" },
  },
])("throws the right error for $name", async ({ run, error, facts }) => {
  const thrown: unknown = await run().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(thrown).toBeInstanceOf(error);
  expect(thrown).toMatchObject({ ...facts, requestID: expect.stringMatching(/^fl-/) as string });
});

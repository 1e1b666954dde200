// Whatever a client sends: a clear error, nothing repeated of what it sent, and the next request is
// served as if nothing had happened.

import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ENGINE_CONTROLS } from "../../src/worker/openai/engine-controls.ts";
import { JSON_DEPTH_MAX } from "../../src/worker/openai/parse-json.ts";
import {
  adminSend,
  BODY_BYTES_MAX,
  chat,
  chatBody,
  deploy,
  MODEL,
  send,
  TENANT_KEY,
} from "./support/deployment.ts";

/** Stands in prompts; must never come out again. */
const CANARY = "canary-4711";

interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

beforeAll(async () => {
  await deploy();
});

let logged: string[] = [];
beforeEach(() => {
  logged = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => void logged.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
});

async function refused(response: Response): Promise<{ status: number } & ErrorBody["error"]> {
  const text = await response.text();
  for (const secret of [CANARY, TENANT_KEY]) {
    expect(text).not.toContain(secret);
    expect(logged.join("\n")).not.toContain(secret);
  }
  expect(response.headers.get("x-request-id")).toMatch(/^fl-/);
  const { error } = JSON.parse(text) as ErrorBody;
  expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
  const after = await chat(chatBody());
  expect(after.status).toBe(200);
  await after.body?.cancel();
  return { status: response.status, ...error };
}

/** A body with `fields`; the prompt holds the canary. */
const body = (fields: Readonly<Record<string, unknown>> = {}) =>
  chatBody({ messages: [{ role: "user", content: CANARY }], ...fields });
const raw = (fields: string) =>
  `{"model":"${MODEL}","messages":[{"role":"user","content":"${CANARY}"}]${fields}}`;

describe("bodies that are not JSON", () => {
  const cut = raw("").slice(0, -3);
  const comma = raw(',"n":1,');
  it.for([
    { name: "cut off", text: cut, line: 1, column: cut.length + 1 },
    { name: "a stray comma", text: comma, line: 1, column: comma.length },
    { name: "not JSON at all", text: CANARY, line: 1, column: 1 },
    { name: "a bad literal", text: `{\n"a": "${CANARY}",\n"b": nul}`, line: 3, column: 6 },
    { name: "trailing text", text: `${raw("")} ${CANARY}`, line: 1, column: raw("").length + 2 },
    { name: "a line feed in a string", text: `{"a":"\n${CANARY}"}`, line: 1, column: 7 },
  ])("$name: says where", async ({ text, line, column }) => {
    const error = await refused(await chat(text));
    expect(error).toMatchObject({ status: 400, code: "invalid_json", param: null });
    expect(error.message).toContain(`line ${line}, column ${column}.`);
  });

  it.for([{ text: "[]" }, { text: '"x"' }, { text: "null" }, { text: "12" }])(
    "$text: wants an object",
    async ({ text }) => {
      const error = await refused(await chat(text));
      expect(error).toMatchObject({ status: 400, code: "invalid_json" });
      expect(error.message).toContain("must be a JSON object");
    },
  );

  it.for([{ text: "" }, { text: " \n" }])(
    "$text: says that the body is empty",
    async ({ text }) => {
      const error = await refused(await chat(text));
      expect(error).toMatchObject({ status: 400, code: "invalid_json" });
      expect(error.message).toContain("is empty");
    },
  );

  it("refuses bytes that are not UTF-8", async () => {
    const bytes = new Uint8Array([...new TextEncoder().encode(raw("").slice(0, -4)), 0xff, 0xfe]);
    const response = await send("/v1/chat/completions", {
      method: "POST",
      body: bytes,
      headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
    });
    const error = await refused(response);
    expect(error).toMatchObject({ status: 400, code: "invalid_json" });
    expect(error.message).toContain("UTF-8");
  });

  it.for([
    { name: "a form", headers: { "content-type": "application/x-www-form-urlencoded" } },
    { name: "another charset", headers: { "content-type": "application/json; charset=latin1" } },
    { name: "no type", headers: { "content-type": "" } },
    { name: "an encoding", headers: { "content-encoding": "gzip" } },
  ])("refuses $name", async ({ headers }) => {
    const error = await refused(await chat(body(), headers));
    expect(error).toMatchObject({ status: 415, code: "unsupported_media_type" });
  });

  it("takes UTF-8 named as such", async () => {
    const headers = { "content-type": "application/json; charset=UTF-8" };
    const response = await chat(body(), headers);
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });
});

describe("shapes", () => {
  it("refuses a key that stands twice, also behind an escape", async () => {
    const error = await refused(await chat(raw(`,"\\u006dodel":"${CANARY}"`)));
    expect(error).toMatchObject({ status: 400, code: "duplicate_parameter", param: "model" });
  });

  it("refuses deep nesting, and takes what is just allowed", async () => {
    const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    const error = await refused(await chat(raw(`,"metadata":${nested(100_000)}`)));
    expect(error).toMatchObject({ status: 400, code: "invalid_json" });
    expect(error.message).toContain(`${JSON_DEPTH_MAX} levels`);
    const justTooDeep = await chat(raw(`,"metadata":${nested(JSON_DEPTH_MAX)}`));
    expect(justTooDeep.status).toBe(400);
    const allowed = await chat(raw(`,"metadata":${nested(JSON_DEPTH_MAX - 1)}`));
    expect(allowed.status).toBe(200);
    await allowed.body?.cancel();
  });

  it.for([
    {
      path: "messages[0].content",
      text: '{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    },
    {
      path: "messages[0].content[0].text",
      text: '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"\\uDC00\\ud800"}]}]}',
    },
    { path: "tools[0].function.name", text: '{"tools":[{"function":{"name":"a\\udfff"}}]}' },
    { path: "prompt", text: '{"prompt":"\\uD83D"}' },
  ])("refuses a lone surrogate in $path", async ({ path, text }) => {
    const error = await refused(await chat(text));
    expect(error).toMatchObject({ status: 400, code: "invalid_value", param: path });
  });

  it("takes a surrogate pair", async () => {
    const pair = `{"model":"${MODEL}","messages":[{"role":"user","content":"\\ud83d\\ude00"}]}`;
    const response = await chat(pair);
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });

  it.for([
    { param: "model", fields: { model: 7 } },
    { param: "model", fields: { model: undefined } },
    { param: "model", fields: { model: "" } },
    { param: "model", fields: { model: "x".repeat(300) } },
    { param: "messages", fields: { messages: CANARY } },
    { param: "messages", fields: { messages: [] } },
    { param: "messages", fields: { messages: undefined } },
    { param: "messages[1]", fields: { messages: [{ role: "user", content: CANARY }, CANARY] } },
    { param: "messages[0].role", fields: { messages: [{ content: CANARY }] } },
    { param: "messages[0].content", fields: { messages: [{ role: "user", content: 7 }] } },
    {
      param: "messages[0].content[1].type",
      fields: { messages: [{ role: "user", content: [{ type: "text" }, { text: CANARY }] }] },
    },
    {
      param: "messages[0].tool_calls[0]",
      fields: { messages: [{ role: "assistant", content: null, tool_calls: [CANARY] }] },
    },
    { param: "stream", fields: { stream: "yes" } },
    { param: "stream_options", fields: { stream_options: CANARY } },
    { param: "stream_options.include_usage", fields: { stream_options: { include_usage: 1 } } },
    { param: "n", fields: { n: 0 } },
    { param: "max_tokens", fields: { max_tokens: -1 } },
    { param: "max_tokens", fields: { max_tokens: 1.5 } },
    { param: "max_completion_tokens", fields: { max_completion_tokens: "many" } },
    { param: "tools", fields: { tools: {} } },
    { param: "tools[0]", fields: { tools: [CANARY] } },
    { param: "cache_salt", fields: { cache_salt: "" } },
  ])("names $param in $fields", async ({ param, fields }) => {
    const error = await refused(await chat(body(fields)));
    expect(error).toMatchObject({ status: 400, code: "invalid_value", param });
    expect(error.message).toContain(`\`${param}\``);
  });

  it.for(ENGINE_CONTROLS.map((name) => ({ name })))(
    "refuses the control $name",
    async ({ name }) => {
      const error = await refused(await chat(body({ [name]: null })));
      expect(error).toMatchObject({ status: 400, code: "unsupported_parameter", param: name });
    },
  );

  it("gives up an array of a million mistakes at the first", async () => {
    const zeros = `[${"0,".repeat(500_000)}0]`;
    const error = await refused(await chat(`{"model":"${MODEL}","messages":${zeros}}`));
    expect(error).toMatchObject({ status: 400, param: "messages[0]" });
  });
});

describe("prompts of completions", () => {
  const complete = (prompt: unknown) =>
    send("/v1/completions", {
      method: "POST",
      body: JSON.stringify({ model: MODEL, prompt }),
      headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
    });

  it.for([{ prompt: "a" }, { prompt: ["a", "b"] }, { prompt: [1, 2] }, { prompt: [[1], [2, 3]] }])(
    "takes $prompt",
    async ({ prompt }) => {
      const response = await complete(prompt);
      expect(response.status).toBe(200);
      await response.body?.cancel();
    },
  );

  it.for([
    { prompt: undefined },
    { prompt: null },
    { prompt: [] },
    { prompt: [[]] },
    { prompt: [1, "a"] },
    { prompt: [-1] },
    { prompt: [1.5] },
    { prompt: { text: CANARY } },
  ])("refuses $prompt", async ({ prompt }) => {
    const error = await refused(await complete(prompt));
    expect(error).toMatchObject({ status: 400, code: "invalid_value", param: "prompt" });
  });
});

describe("sizes", () => {
  const big = (bytes: number) => raw(`,"metadata":"${"x".repeat(bytes)}"`);

  it("refuses a body over the limit that says how long it is", async () => {
    const error = await refused(await chat(big(20 * 1024 * 1024)));
    expect(error).toMatchObject({ status: 413, code: "request_too_large" });
    expect(error.message).toContain(String(BODY_BYTES_MAX));
  });

  it("refuses a body over the limit that does not, without holding it", async () => {
    const chunk = new TextEncoder().encode("x".repeat(64 * 1024));
    let sent = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent >= 20 * 1024 * 1024) return controller.close();
        sent += chunk.byteLength;
        controller.enqueue(chunk);
      },
    });
    const response = await send("/v1/chat/completions", {
      method: "POST",
      body: stream,
      headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
    });
    expect(await refused(response)).toMatchObject({ status: 413, code: "request_too_large" });
  });

  it("takes a body at the limit, in chunks of any size", async () => {
    const text = big(BODY_BYTES_MAX - big(0).length);
    expect(text.length).toBe(BODY_BYTES_MAX);
    const stream = new Blob([text]).stream();
    const response = await send("/v1/chat/completions", {
      method: "POST",
      body: stream,
      headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
    });
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });
});

describe("keys", () => {
  it.for([
    { name: "none", headers: { authorization: "" } },
    { name: "another scheme", headers: { authorization: `Basic ${TENANT_KEY}` } },
    { name: "a wrong one", headers: { authorization: `Bearer ${CANARY}` } },
    { name: "one with something behind it", headers: { authorization: `Bearer ${TENANT_KEY} x` } },
    { name: "a very long one", headers: { authorization: `Bearer ${"k".repeat(5_000)}` } },
  ])("refuses $name", async ({ headers }) => {
    const response = await chat(body(), headers);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    expect(await refused(response)).toMatchObject({ status: 401, code: "invalid_api_key" });
  });

  it("takes any case of the scheme", async () => {
    const response = await chat(body(), { authorization: `bearer ${TENANT_KEY}` });
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });
});

describe("paths", () => {
  it.for([
    { path: "/" },
    { path: "/v1" },
    { path: "/v1/embeddings" },
    { path: "/v1/load_lora_adapter" },
    { path: "/tokenize" },
    { path: "/v1/../metrics/x" },
    { path: "/admin/v1/nothing" },
    { path: "//v1/models" },
  ])("knows nothing at $path", async ({ path }) => {
    const error = await refused(await send(path));
    expect(error).toMatchObject({ status: 404, code: "not_found" });
    expect(error.message).toContain("/v1/chat/completions");
  });

  it.for([
    { path: "/v1/chat/completions", method: "GET", allow: "POST" },
    { path: "/v1/chat/completions/", method: "GET", allow: "POST" },
    { path: "/v1/models", method: "DELETE", allow: "GET" },
    { path: "/health", method: "POST", allow: "GET" },
    { path: "/admin/v1/config", method: "DELETE", allow: "GET, PUT" },
  ])("names the methods of $path", async ({ path, method, allow }) => {
    const response = await send(path, { method });
    expect(response.headers.get("allow")).toBe(allow);
    expect(await refused(response)).toMatchObject({ status: 405, code: "method_not_allowed" });
  });
});

describe("a client's own request id", () => {
  it.for([
    { name: "spaces", id: "a b" },
    { name: "too long", id: "x".repeat(129) },
    { name: "not ASCII", id: "\u00e4" },
  ])("is not repeated with $name", async ({ id }) => {
    expect(await refused(await chat("{", { "x-request-id": id }))).toMatchObject({ status: 400 });
  });
});

it("logs one line a request if asked to, and nothing of its content", async () => {
  await adminSend("/admin/v1/settings", { method: "PATCH", body: '{"requestLog":"all"}' });
  const response = await chat(body(), { "x-request-id": "mine-2" });
  await response.body?.cancel();
  expect(logged).toHaveLength(1);
  expect(JSON.parse(logged[0]!)).toMatchObject({
    msg: "request",
    requestId: response.headers.get("x-fairlead-request-id"),
    clientRequestId: "mine-2",
    tenant: "acme",
    model: MODEL,
    pool: "eu-1",
    status: 200,
    stream: false,
    attempts: 1,
  });
  expect(logged[0]).not.toContain(CANARY);
  expect(logged[0]).not.toContain(TENANT_KEY);
});

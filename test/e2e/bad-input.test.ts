// Every kind of bad input through the whole chain: its own clear error, and a router that lives on.

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startFairlead, type Fairlead } from "./harness.ts";

const CANARY = "canary-3f9a1c-never-repeat-me";

let up: Fairlead;
beforeAll(async () => {
  up = await startFairlead("--engines", "1");
});
afterAll(() => up?.[Symbol.asyncDispose]());
afterEach(async () => {
  const answer = await chat({ model: up.model, messages: [{ role: "user", content: "Hello" }] });
  if (answer.status !== 200) throw new Error(`it no longer answers: ${answer.text}`);
});

interface Answer {
  readonly status: number;
  readonly error: { message: string; type: string; param: string | null; code: string | null };
  readonly text: string;
}

async function post(path: string, init: RequestInit): Promise<Answer> {
  const headers = { "content-type": "application/json", ...(init.headers as object) };
  const response = await up.fetch(path, { method: "POST", ...init, headers });
  const text = await response.text();
  const { error } = JSON.parse(text) as Answer;
  return { status: response.status, error, text };
}

const chat = (body: unknown) =>
  post("/v1/chat/completions", {
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

const good = { messages: [{ role: "user", content: CANARY }] };

describe("bad input", () => {
  it.for([
    { name: "text that is not JSON", body: `{"messages": ${CANARY}`, status: 400 },
    { name: "a list instead of an object", body: [CANARY], status: 400 },
    { name: "no model", body: good, status: 400, param: "model" },
    { name: "a model of the wrong type", body: { ...good, model: 7 }, status: 400, param: "model" },
    {
      name: "messages that are no list",
      body: { messages: CANARY },
      status: 400,
      param: "messages",
    },
    {
      name: "a message that is no object",
      body: { messages: [CANARY] },
      status: 400,
      param: "messages[0]",
    },
    {
      name: "stream that is no boolean",
      body: { ...good, stream: "yes" },
      status: 400,
      param: "stream",
    },
    {
      name: "max_tokens below one",
      body: { ...good, max_tokens: -1 },
      status: 400,
      param: "max_tokens",
    },
    {
      name: "an engine control",
      body: { ...good, kv_transfer_params: { do_remote_decode: true } },
      status: 400,
      param: "kv_transfer_params",
    },
    {
      name: "another engine control",
      body: { ...good, priority: 1 },
      status: 400,
      param: "priority",
    },
  ])("refuses $name", async ({ body, status, param }) => {
    const isPlain = typeof body === "string" || Array.isArray(body) || param === "model";
    const answer = await chat(isPlain ? body : { model: up.model, ...body });
    expect(answer.status).toBe(status);
    expect(answer.error.message).toMatch(/\w+ \w+/);
    expect(answer.error.param).toBe(param ?? null);
    expect(answer.text).not.toContain(CANARY);
  });

  it("refuses a model that nobody serves", async () => {
    const answer = await chat({ ...good, model: "gpt-9" });
    expect(answer).toMatchObject({ status: 404, error: { code: "model_not_found" } });
  });

  it("refuses duplicate keys, deep nesting and half a surrogate pair", async () => {
    const twice = await chat(`{"model":"${up.model}","model":"x","messages":[]}`);
    expect(twice).toMatchObject({ status: 400, error: { param: "model" } });
    const deep = await chat(`{"model":"${up.model}","x":${"[".repeat(500)}${"]".repeat(500)}}`);
    expect(deep.status).toBe(400);
    const half = await chat(
      `{"model":"${up.model}","messages":[{"role":"user","content":"\\ud800 ${CANARY}"}]}`,
    );
    expect(half.status).toBe(400);
    expect(half.text).not.toContain(CANARY);
  });

  it("refuses bytes that are not UTF-8, and another content type", async () => {
    const bytes = Buffer.concat([
      Buffer.from('{"model":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    expect((await post("/v1/chat/completions", { body: bytes })).status).toBe(400);
    const form = await post("/v1/chat/completions", {
      body: "model=x",
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });
    expect(form.status).toBe(415);
  });

  it("refuses a body of 20 MB and names the limit", async () => {
    const body = JSON.stringify({
      model: up.model,
      messages: [{ role: "user", content: CANARY.repeat(700_000) }],
    });
    expect(body.length).toBeGreaterThan(20_000_000);
    const answer = await chat(body);
    expect(answer.status).toBe(413);
    expect(answer.error.message).toMatch(/16777216|16 MiB/);
    expect(answer.text).not.toContain(CANARY);
  });

  it("refuses a missing and an unknown key alike, and repeats neither", async () => {
    for (const authorization of ["", `Bearer sk-${CANARY}`, "Basic x"]) {
      const answer = await post("/v1/chat/completions", {
        body: JSON.stringify({ model: up.model, ...good }),
        headers: { authorization },
      });
      expect(answer).toMatchObject({ status: 401, error: { code: "invalid_api_key" } });
      expect(answer.text).not.toContain(CANARY);
    }
  });

  it.for(["/metrics", "/sim/state", "/tokenize", "/v1/embeddings", "/v1/../metrics", "/"])(
    "serves no path but its own: %s",
    async (path) => {
      const answer = await up.fetch(path);
      expect([401, 404]).toContain(answer.status);
      const body = await answer.text();
      expect(body).not.toContain("vllm:");
      expect(JSON.parse(body)).toHaveProperty("error.message");
    },
  );

  it("answers a wrong method with the right ones", async () => {
    const answer = await up.fetch("/v1/chat/completions", { method: "DELETE" });
    expect(answer.status).toBe(405);
    expect(answer.headers.get("allow")).toBe("POST");
  });
});

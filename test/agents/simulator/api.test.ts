import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import {
  chat,
  collect,
  MODEL,
  parseBody,
  post,
  readBody,
  readEvents,
  startEngines,
  state,
} from "./harness.ts";

const user = (content: string) => [{ role: "user" as const, content }];
const client = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

interface AnsweredChoice {
  readonly finish_reason: string;
  readonly message: { readonly content: null; readonly tool_calls: readonly object[] };
}

describe("the openai client", () => {
  it("gets a chat completion", async () => {
    const { url } = await startEngines();
    const completion = await client(url).chat.completions.create({
      model: MODEL,
      messages: user("Hello world"),
    });
    expect(completion.choices[0]!.message).toMatchObject({
      role: "assistant",
      content: "Hello world",
    });
    expect(completion.choices[0]!.finish_reason).toBe("stop");
    expect(completion.id).toMatch(/^chatcmpl-/);
    expect(completion.usage).toEqual({
      prompt_tokens: 12,
      completion_tokens: 2,
      total_tokens: 14,
      prompt_tokens_details: { cached_tokens: 0 },
    });
  });

  it("streams a chat completion, and gets usage when it asks", async () => {
    const { url } = await startEngines();
    const stream = await client(url).chat.completions.create({
      model: MODEL,
      messages: user("one two three"),
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    expect(chunks[0]!.choices[0]!.delta).toEqual({ role: "assistant", content: "" });
    const contents = chunks.slice(1, -1).map((chunk) => chunk.choices[0]!.delta.content);
    expect(contents.join("")).toBe("one two three");
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe("stop");
    expect(chunks.at(-1)!.choices).toEqual([]);
    expect(chunks.at(-1)!.usage).toMatchObject({ completion_tokens: 3 });
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
  });

  it("gets and streams completions", async () => {
    const { url } = await startEngines();
    const request = { model: MODEL, prompt: "a b c d", max_tokens: 3 };
    const whole = await client(url).completions.create(request);
    expect(whole.choices[0]).toMatchObject({ text: "a b c ", finish_reason: "length", index: 0 });
    expect(whole.id).toMatch(/^cmpl-/);
    const stream = await client(url).completions.create({ ...request, stream: true });
    const chunks = await collect(stream);
    expect(chunks.map((chunk) => chunk.choices[0]!.text).join("")).toBe("a b c ");
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe("length");
    expect(chunks.some((chunk) => chunk.usage != null)).toBe(false);
  });

  it("lists the model", async () => {
    const { url } = await startEngines({ "served-model-name": "alias, second" });
    const models = await collect(client(url).models.list());
    expect(models.map((model) => model.id)).toEqual(["alias", "second"]);
    expect(models[0]).toMatchObject({ root: MODEL, max_model_len: 32_768 });
  });

  it("sees the error classes it knows", async () => {
    const { url } = await startEngines();
    const call = client(url).chat.completions.create({ model: "other", messages: user("x") });
    await expect(call).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });
});

describe("streams", () => {
  it("end with [DONE], and carry usage only on request", async () => {
    const { url } = await startEngines();
    const plain = await readEvents(await chat(url, "a b", { stream: true }));
    expect(plain.at(-1)).toBe("[DONE]");
    expect(plain.slice(0, -1).some((event) => "usage" in parseBody(event))).toBe(false);
    const options = { include_usage: true, continuous_usage_stats: true };
    const continuous = await readEvents(
      await chat(url, "a b", { stream: true, stream_options: options }),
    );
    const usages = continuous.slice(0, -1).map((event) => parseBody(event).usage);
    expect(usages.every((usage) => usage.prompt_tokens === 12)).toBe(true);
    expect(usages.at(-1)!.completion_tokens).toBe(2);
  });

  it("send their headers before the first token", async () => {
    const { url } = await startEngines({ "time-scale": 1, "prefill-overhead": 60_000 });
    const response = await chat(url, "slow", { stream: true });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
    await response.body!.cancel();
  });
});

describe("tools", () => {
  const tools = ["find", "end"].map((name) => ({ type: "function", function: { name } }));
  const ends = { type: "function", function: { name: "end" } };

  it.for([
    { choice: "required", name: "find" },
    { choice: ends, name: "end" },
  ])("are called where $choice asks for it", async ({ choice, name }) => {
    const { url } = await startEngines({ mode: "random" });
    const fields = { tools, tool_choice: choice, max_tokens: 60, ignore_eos: true };
    const { choices, usage } = await readBody(chat(url, "Go on", fields));
    const [{ message, finish_reason: reason }] = choices as unknown as [AnsweredChoice];
    expect(reason).toBe("tool_calls");
    expect(message.content).toBeNull();
    expect(message.tool_calls).toMatchObject([{ type: "function", function: { name } }]);
    expect(usage.completion_tokens).toBeGreaterThan(50);
    expect(usage.completion_tokens).toBeLessThanOrEqual(61);
    // As the prompt has it when it comes back, so that it is found in the cache.
    const messages = [...user("Go on"), message, ...user("Then")];
    const { usage: next } = await readBody(
      post(`${url}/v1/chat/completions`, { model: MODEL, tools, messages, max_tokens: 1 }),
    );
    expect(next.prompt_tokens_details.cached_tokens).toBeGreaterThan(80);
  });

  it("are not called where the choice is the engine's, and a stream has the call at its end", async () => {
    const { url } = await startEngines();
    const { choices } = await readBody(chat(url, "Hello world", { tools }));
    expect(choices[0]!.finish_reason).toBe("stop");
    const fields = { tools, tool_choice: "required", stream: true };
    const events = await readEvents(await chat(url, "Hello world", fields));
    expect(
      events.join("").match(/"tool_calls":\[\{"index":0,"id":"call_[0-9a-f]{8}"/gu),
    ).toHaveLength(1);
  });
});

describe("return_token_ids", () => {
  it("names prompt and answer by id in a chat completion", async () => {
    const { url } = await startEngines();
    const body = await readBody(chat(url, "Hello world", { return_token_ids: true }));
    expect(body.prompt_token_ids).toEqual([
      638357778, 638357778, 399020470, 1618501362, 2382766391, 2871118705, 805775579, 638357778,
      638357778, 399020470, 3007765287, 2382766391,
    ]);
    expect(body.choices[0]!.token_ids).toEqual([2871118705, 933488787]);
  });

  it("names them in a stream: the prompt's once, the answer's as they come", async () => {
    const { url } = await startEngines();
    const fields = { stream: true, return_token_ids: true };
    const events = await readEvents(await chat(url, "Hello world", fields));
    const chunks = events.slice(0, -1).map((event) => parseBody(event));
    expect(chunks.filter((chunk) => chunk.prompt_token_ids)).toHaveLength(1);
    expect(chunks[0]!.prompt_token_ids).toHaveLength(12);
    const ids = chunks.flatMap((chunk) => chunk.choices[0]!.token_ids ?? []);
    expect(ids).toEqual([2871118705, 933488787]);
  });

  it("names them in a completion's choices, also for a prompt of ids", async () => {
    const { url } = await startEngines();
    const prompt = [5, 6, 4_294_967_295];
    const request = { model: MODEL, prompt, return_token_ids: true };
    const body = await readBody(post(`${url}/v1/completions`, request));
    expect(body.choices[0]!).toMatchObject({
      text: "5,6,4294967295",
      prompt_token_ids: prompt,
      token_ids: prompt,
    });
    const without = await readBody(
      post(`${url}/v1/completions`, { ...request, return_token_ids: false }),
    );
    expect(without.choices[0]!).not.toHaveProperty("token_ids");
  });
});

describe("several answers", () => {
  it("a list of prompts times n gives that many choices", async () => {
    const { url } = await startEngines();
    const request = { model: MODEL, prompt: ["one two", "three"], n: 2 };
    const body = await readBody(post(`${url}/v1/completions`, request));
    const texts = body.choices.map((choice) => choice.text);
    expect(texts).toEqual(["one two", "one two", "three", "three"]);
    expect(body.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 6 });
  });

  it("stream side by side, each with its index", async () => {
    const { url } = await startEngines();
    const request = { model: MODEL, prompt: ["one two", "three"], stream: true };
    const events = await readEvents(await post(`${url}/v1/completions`, request));
    const texts = ["", ""];
    for (const event of events.slice(0, -1)) {
      const [choice] = parseBody(event).choices;
      texts[choice!.index]! += choice!.text;
    }
    expect(texts).toEqual(["one two", "three"]);
  });
});

describe("lengths", () => {
  it("max_completion_tokens wins over max_tokens, and ignore_eos fills it", async () => {
    const { url } = await startEngines({ mode: "random" });
    const fields = { max_completion_tokens: 17, max_tokens: 99, ignore_eos: true };
    const body = await readBody(chat(url, "go", fields));
    expect(body.usage.completion_tokens).toBe(17);
    expect(body.choices[0]!.finish_reason).toBe("length");
  });

  it("the same seed gives the same answer on any engine", async () => {
    const { urls } = await startEngines({ mode: "random", engines: 2 });
    const answers = urls.map(async (url) => readBody(chat(url, "go", { seed: 5 })));
    const [first, second] = await Promise.all(answers);
    expect(first!.choices[0]!.message).toEqual(second!.choices[0]!.message);
  });

  it("without a seed engines answer differently", async () => {
    const { urls } = await startEngines({ mode: "random", engines: 4 });
    const bodies = await Promise.all(urls.map((url) => readBody(chat(url, "go"))));
    const contents = bodies.map((body) => body.choices[0]!.message.content);
    expect(new Set(contents).size).toBeGreaterThan(1);
  });
});

describe("caching", () => {
  it("reports what it found in the cache, and keeps engines apart", async () => {
    const { urls } = await startEngines({ engines: 2 });
    const prompt = "lorem ipsum dolor sit amet ".repeat(40);
    const cachedAt = async (url: string) =>
      (await readBody(chat(url, prompt))).usage.prompt_tokens_details.cached_tokens;
    expect(await cachedAt(urls[0]!)).toBe(0);
    expect(await cachedAt(urls[0]!)).toBe(208);
    expect(await cachedAt(urls[1]!)).toBe(0);
  });

  it("keeps salts apart", async () => {
    const { url } = await startEngines();
    const prompt = "lorem ipsum dolor sit amet ".repeat(40);
    const cachedWith = async (salt: string) =>
      (await readBody(chat(url, prompt, { cache_salt: salt }))).usage.prompt_tokens_details
        .cached_tokens;
    expect(await cachedWith("a")).toBe(0);
    expect(await cachedWith("b")).toBe(0);
    expect(await cachedWith("a")).toBe(208);
  });
});

describe("identity", () => {
  it("x-request-id becomes the end of the id", async () => {
    const { url } = await startEngines();
    const init = { headers: { "x-request-id": "req-7" } };
    expect((await readBody(chat(url, "x", {}, init))).id).toBe("chatcmpl-req-7");
    const request = { model: MODEL, prompt: "x" };
    const body = await readBody(post(`${url}/v1/completions`, request, init));
    expect(body.id).toBe("cmpl-req-7");
  });

  it("logs one line a request with its ids, and neither prompt nor secrets anywhere", async () => {
    const { url, lines } = await startEngines();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const headers = { "x-request-id": "r1", traceparent, authorization: "Bearer canary-key" };
    await (await chat(url, "canary-prompt", {}, { headers })).text();
    const { requests } = await state(url);
    expect(requests[0]).toMatchObject({
      requestId: "r1",
      traceId: "0af7651916cd43dd8448eb211c80319c",
      outcome: "finished",
      headers: { authorization: "[redacted]", traceparent },
    });
    const logged = lines.map((line) => JSON.parse(line)).filter((line) => line.msg === "request");
    expect(logged).toHaveLength(1);
    expect(logged[0]).toMatchObject({
      requestId: "r1",
      traceId: "0af7651916cd43dd8448eb211c80319c",
      status: 200,
      engine: 0,
      outputTokens: 3,
    });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(JSON.stringify(requests) + lines.join("") + metrics).not.toMatch(/canary/);
  });
});

describe("/tokenize, /health", () => {
  it("counts as the engine does", async () => {
    const { url } = await startEngines();
    const plain = await readBody(post(`${url}/tokenize`, { prompt: "Hello world" }));
    expect(plain).toEqual({
      count: 2,
      max_model_len: 32_768,
      tokens: [2871118705, 933488787],
      token_strs: null,
    });
    const messages = user("Hello world");
    const body = await readBody(post(`${url}/tokenize`, { model: MODEL, messages }));
    expect(body.count).toBe(12);
  });

  it("is healthy at once and ready after the start", async () => {
    const { url } = await startEngines({ "startup-duration": 3_600_000, "time-scale": 1 });
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect((await fetch(`${url}/health/ready`)).status).toBe(503);
    const { url: readyUrl } = await startEngines();
    expect((await fetch(`${readyUrl}/health/ready`)).status).toBe(200);
  });
});

describe("refusals", () => {
  const messages = user("x");
  it.for([
    { name: "not JSON", body: "{", status: 400, message: /not valid JSON/ },
    { name: "no messages", body: { model: MODEL }, status: 400, param: "messages" },
    {
      name: "empty messages",
      body: { model: MODEL, messages: [] },
      status: 400,
      param: "messages",
    },
    {
      name: "wrong type",
      body: { model: MODEL, messages, max_tokens: "many" },
      status: 400,
      param: "max_tokens",
    },
    {
      name: "no tokens asked",
      body: { model: MODEL, messages, max_tokens: 0 },
      status: 400,
      param: "max_tokens",
    },
    {
      name: "endless answer",
      body: { model: MODEL, messages, ignore_eos: true },
      status: 400,
      param: "ignore_eos",
    },
    {
      name: "stream options without a stream",
      body: { model: MODEL, messages, stream_options: { include_usage: true } },
      status: 400,
      param: "stream_options",
    },
    {
      name: "too many choices",
      body: { model: MODEL, messages, n: 129 },
      status: 400,
      param: "n",
    },
    {
      name: "unknown model",
      body: { model: "other", messages },
      status: 404,
      param: "model",
      message: /`other` does not exist/,
    },
    {
      name: "answer longer than the context",
      body: { model: MODEL, messages, max_tokens: 40_000 },
      status: 400,
      param: "max_tokens",
      message: /maximum context length is 32768/,
    },
    {
      name: "prompt longer than the context",
      body: { model: MODEL, messages: user("a ".repeat(33_000)) },
      status: 400,
      param: "messages",
      message: /maximum context length is 32768/,
    },
  ])("$name", async ({ body, status, param, message }) => {
    const { url } = await startEngines();
    const response = await post(`${url}/v1/chat/completions`, body);
    expect(response.status).toBe(status);
    const { error } = await readBody(response);
    expect(error).toMatchObject({ code: status, type: expect.stringMatching(/Error$/) });
    expect(error.param).toBe(param ?? null);
    expect(error.message).toMatch(message ?? /./);
    expect((await state(url)).running).toBe(0);
  });

  it("an empty prompt", async () => {
    const { url } = await startEngines();
    const response = await post(`${url}/v1/completions`, { model: MODEL, prompt: " " });
    expect(response.status).toBe(400);
    expect((await readBody(response)).error.param).toBe("prompt");
  });

  it("a body past the limit, and serves the next request", async () => {
    const { url } = await startEngines({ "max-request-body-size-mb": 1 });
    const response = await chat(url, "x".repeat(1_100_000));
    expect(response.status).toBe(413);
    expect((await chat(url, "x")).status).toBe(200);
  });

  it("unknown paths and wrong methods", async () => {
    const { url } = await startEngines();
    expect((await fetch(`${url}/v1/embeddings`)).status).toBe(404);
    expect((await fetch(`${url}/__proto__`)).status).toBe(404);
    expect((await fetch(`${url}/v1/completions`)).status).toBe(405);
  });
});

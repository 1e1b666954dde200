import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFairlead, type Fairlead } from "./harness.ts";

let up: Fairlead;
beforeAll(async () => {
  up = await startFairlead("--engine-arg", "mode=echo");
});
afterAll(() => up?.[Symbol.asyncDispose]());

const ask = (content: string) => [{ role: "user" as const, content }];

describe("the openai client, unmodified", () => {
  it("gets a chat completion, and headers that say who answered", async () => {
    const { data, response } = await up.client.chat.completions
      .create({ model: up.model, messages: ask("Tell me about tides.") })
      .withResponse();
    expect(data.choices[0]!.message).toMatchObject({
      role: "assistant",
      content: "Tell me about tides.",
    });
    expect(data.choices[0]!.finish_reason).toBe("stop");
    expect(data.usage!.total_tokens).toBeGreaterThan(0);
    expect(up.engines()).toContain(`http://${response.headers.get("x-fairlead-endpoint")}`);
    const requestId = response.headers.get("x-fairlead-request-id");
    expect(requestId).toMatch(/^fl-/);
    expect(response.headers.get("x-request-id")).toBe(requestId);
  });

  it("streams a chat completion", async () => {
    const stream = await up.client.chat.completions.create({
      model: up.model,
      messages: ask("One two three four five."),
      stream: true,
    });
    let text = "";
    let finish: string | null = null;
    let chunks = 0;
    for await (const chunk of stream) {
      chunks++;
      expect(chunk.usage ?? null).toBeNull();
      expect(chunk.choices).toHaveLength(1);
      text += chunk.choices[0]!.delta.content ?? "";
      finish = chunk.choices[0]!.finish_reason ?? finish;
    }
    expect({ text, finish }).toEqual({ text: "One two three four five.", finish: "stop" });
    expect(chunks).toBeGreaterThan(3);
  });

  it("gets usage in a stream only when it asks", async () => {
    const create = (stream_options?: { include_usage: boolean }) =>
      up.client.chat.completions.create({
        model: up.model,
        messages: ask("Count my tokens."),
        stream: true,
        ...(stream_options === undefined ? {} : { stream_options }),
      });
    const usages = async (stream: Awaited<ReturnType<typeof create>>) => {
      const found = [];
      for await (const chunk of stream) if (chunk.usage != null) found.push(chunk);
      return found;
    };
    expect(await usages(await create())).toEqual([]);
    expect(await usages(await create({ include_usage: false }))).toEqual([]);
    expect(await usages(await create({ include_usage: true }))).toMatchObject([
      { choices: [], usage: { prompt_tokens: expect.any(Number) } },
    ]);
  });

  it("gets a text completion, streamed and not", async () => {
    const request = { model: up.model, prompt: "To be or not to be", max_tokens: 64 };
    const whole = await up.client.completions.create(request);
    expect(whole.choices[0]!.text).toBe("To be or not to be");
    let text = "";
    for await (const chunk of await up.client.completions.create({ ...request, stream: true })) {
      text += chunk.choices[0]!.text;
    }
    expect(text).toBe("To be or not to be");
  });

  it("lists the models it may use", async () => {
    const models = [];
    for await (const model of up.client.models.list()) models.push(model.id);
    expect(models).toEqual([up.model]);
  });

  it("keeps its own request id, and ends when it stops reading", async () => {
    const controller = new AbortController();
    const { data: stream, response } = await up.client.chat.completions
      .create(
        { model: up.model, messages: ask("word ".repeat(2_000)), stream: true },
        { headers: { "x-request-id": "mine-1" }, signal: controller.signal },
      )
      .withResponse();
    expect(response.headers.get("x-request-id")).toBe("mine-1");
    expect(response.headers.get("x-fairlead-request-id")).toMatch(/^fl-/);
    for await (const chunk of stream) {
      expect(chunk.object).toBe("chat.completion.chunk");
      break;
    }
    controller.abort();
  });
});

describe("fifty requests at once", () => {
  it("are never mixed up", async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const content = `Request ${i} has the number ${i * 7919} and nothing of the others.`;
        if (i % 2 === 0) {
          const whole = await up.client.chat.completions.create({
            model: up.model,
            messages: ask(content),
          });
          return { content, answer: whole.choices[0]!.message.content };
        }
        let answer = "";
        const stream = await up.client.chat.completions.create({
          model: up.model,
          messages: ask(content),
          stream: true,
        });
        for await (const chunk of stream) answer += chunk.choices[0]!.delta.content ?? "";
        return { content, answer };
      }),
    );
    for (const { content, answer } of answers) expect(answer).toBe(content);
  });
});

import { describe, expect, it } from "vitest";
import { JOURNAL_REQUESTS_MAX } from "../../../src/agents/simulator/request-journal.ts";
import { chat, eventually, readBody, startEngines, state } from "./harness.ts";

/** Answers so slow that they last as long as a test. */
const SLOW = { mode: "random", "time-scale": 1, "inter-token-latency": 1_000 } as const;
const LONG = { max_tokens: 1_000, ignore_eos: true, stream: true };

describe("overload", () => {
  it("runs some, lets some wait, refuses the rest with 429, and says so in its metrics", async () => {
    const { url } = await startEngines({
      ...SLOW,
      "max-num-seqs": 2,
      "max-waiting-queue-length": 1,
    });
    const responses = await Promise.all(Array.from({ length: 3 }, () => chat(url, "x", LONG)));
    expect(responses.map((response) => response.status)).toEqual([200, 200, 200]);
    const refused = await chat(url, "x", LONG);
    expect(refused.status).toBe(429);
    expect((await readBody(refused)).error).toMatchObject({
      code: 429,
      type: "TooManyRequestsError",
    });
    await eventually(async () =>
      expect(await state(url)).toMatchObject({ running: 2, waiting: 1 }),
    );
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/^vllm:num_requests_running\{[^}]*\} 2$/m);
    expect(metrics).toMatch(/^vllm:num_requests_waiting\{[^}]*\} 1$/m);
    await Promise.all(responses.map((response) => response.body!.cancel()));
  });
});

describe("a client that leaves", () => {
  it.for([
    { name: "while its stream runs", fields: LONG },
    { name: "while a plain answer is generated", fields: { ...LONG, stream: false } },
  ])("$name takes its sequence and its blocks with it", async ({ fields }) => {
    const { url } = await startEngines({ ...SLOW, "kv-cache-size": 2_048 });
    const abort = new AbortController();
    const answer = chat(url, "word ".repeat(200), fields, { signal: abort.signal });
    await eventually(async () => expect((await state(url)).running).toBe(1));
    expect((await state(url)).kvUsage).toBeGreaterThan(0);
    abort.abort();
    await expect(answer.then((response) => response.text())).rejects.toThrow(/abort/i);
    await eventually(async () =>
      expect(await state(url)).toMatchObject({
        running: 0,
        kvUsage: 0,
        aborted: 1,
        requests: [{ outcome: "aborted" }],
      }),
    );
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/request_success_total\{[^}]*finished_reason="abort"\} 1$/m);
  });

  it("from the queue does not stop the others", async () => {
    const { url } = await startEngines({ ...SLOW, "inter-token-latency": 20, "max-num-seqs": 1 });
    const fields = { ...LONG, max_tokens: 10 };
    const first = await chat(url, "x", fields);
    const second = await chat(url, "x", fields);
    await second.body!.cancel();
    const third = await chat(url, "x", fields);
    expect(await first.text()).toMatch(/\[DONE\]/);
    expect(await third.text()).toMatch(/\[DONE\]/);
    expect(await state(url)).toMatchObject({ aborted: 1, running: 0, waiting: 0 });
  });
});

describe("a client that reads slowly", () => {
  it("gets everything, in fewer chunks", async () => {
    const { url } = await startEngines({ mode: "random", "inter-token-latency": 0 });
    const response = await chat(url, "x", {
      stream: true,
      max_tokens: 30_000,
      ignore_eos: true,
      stream_options: { include_usage: true },
    });
    await eventually(async () => expect((await state(url)).running).toBe(0));
    const events = (await response.text()).split("\n\n");
    expect(events.at(-2)).toBe("data: [DONE]");
    expect(events.length).toBeLessThan(30_000);
    const usage = JSON.parse(events.at(-3)!.slice("data: ".length)).usage;
    expect(usage.completion_tokens).toBe(30_000);
  });
});

describe("many at once", () => {
  it("each gets its own answer", async () => {
    const { url } = await startEngines();
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const body = await readBody(chat(url, `number ${i} of many`));
        return body.choices[0]!.message.content;
      }),
    );
    expect(answers).toEqual(Array.from({ length: 100 }, (_, i) => `number ${i} of many`));
  });

  it("remembers only the latest requests", async () => {
    const { url } = await startEngines({ "time-scale": 0.001 });
    for (let i = 0; i < JOURNAL_REQUESTS_MAX + 4; i += 20) {
      await Promise.all(Array.from({ length: 20 }, async () => (await chat(url, "x")).text()));
    }
    expect((await state(url)).requests).toHaveLength(JOURNAL_REQUESTS_MAX);
  });
});

it("engines of one process are independent", async () => {
  const { urls, ports } = await startEngines({ ...SLOW, engines: 3 });
  expect(new Set(ports).size).toBe(3);
  const response = await chat(urls[1]!, "x", LONG);
  await eventually(async () => expect((await state(urls[1]!)).running).toBe(1));
  expect((await state(urls[0]!)).running).toBe(0);
  expect((await state(urls[2]!)).requests).toEqual([]);
  await response.body!.cancel();
});

describe("closing", () => {
  it("lets what is under way end, and accepts nothing more", async () => {
    const { url, close } = await startEngines({ "time-scale": 1, "prefill-overhead": 150 });
    const response = chat(url, "last words");
    await eventually(async () => expect((await state(url)).running).toBe(1));
    const closed = close(4_000);
    expect((await readBody(response)).choices[0]!.message.content).toBe("last words");
    await closed;
    await expect(fetch(`${url}/health`)).rejects.toThrow(/fetch failed/);
  });

  it("cuts off what takes longer", async () => {
    const { url, close } = await startEngines(SLOW);
    const response = await chat(url, "x", LONG);
    await close(20);
    await expect(response.text()).rejects.toThrow(/terminated/);
  });
});

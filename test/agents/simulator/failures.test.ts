import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { FailureInjector, parseFailures } from "../../../src/agents/simulator/failures.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { chat, eventually, post, readBody, readEvents, startEngines, state } from "./harness.ts";

const WORDS = "one two three four five";

/** Delays long enough to be seen whatever the machine does meanwhile. */
const DELAY_MS = 150;

const setFailures = async (url: string, failures: unknown) =>
  expect((await post(`${url}/sim/failures`, failures)).status).toBe(200);

/** Milliseconds until the headers and until the end of the body. */
async function timeOf(answer: Promise<Response>) {
  const startMs = performance.now();
  const response = await answer;
  const headersMs = performance.now() - startMs;
  const text = await response.text();
  return { headersMs, totalMs: performance.now() - startMs, text, status: response.status };
}

describe("status failures", () => {
  it.for([
    { kind: "429", type: "TooManyRequestsError" },
    { kind: "503", type: "ServiceUnavailableError" },
  ])("$kind", async ({ kind, type }) => {
    const { url } = await startEngines();
    await setFailures(url, [{ kind, count: 1 }]);
    const response = await chat(url, WORDS);
    expect(response.status).toBe(Number(kind));
    expect((await readBody(response)).error).toMatchObject({ code: Number(kind), type });
    expect((await chat(url, WORDS)).status).toBe(200);
    expect((await state(url)).requests[0]).toMatchObject({ outcome: "refused", failure: "error" });
  });

  it("failure-injection-rate draws from failure-types", async () => {
    const { url } = await startEngines({
      "failure-injection-rate": 100,
      "failure-types": ["invalid_api_key"],
    });
    expect((await chat(url, WORDS)).status).toBe(401);
  });
});

describe("late answers", () => {
  it("slow-headers delays the headers", async () => {
    const { url } = await startEngines();
    await setFailures(url, { kind: "slow-headers", delayMs: DELAY_MS });
    for (const stream of [true, false]) {
      const { headersMs, text } = await timeOf(chat(url, WORDS, { stream }));
      expect(headersMs).toBeGreaterThan(DELAY_MS * 0.9);
      expect(text).toMatch(/five/);
    }
  });

  it("stall-before sends headers, then nothing for a while", async () => {
    const { url } = await startEngines();
    await setFailures(url, { kind: "stall-before", delayMs: 600_000, count: 1 });
    const response = await chat(url, WORDS, { stream: true });
    expect(response.status).toBe(200);
    await eventually(async () =>
      expect(await state(url)).toMatchObject({ running: 0, requests: [{ outcome: "open" }] }),
    );
    await response.body!.cancel();
    await setFailures(url, { kind: "stall-before", delayMs: DELAY_MS });
    const { totalMs, text } = await timeOf(chat(url, WORDS, { stream: true }));
    expect(totalMs).toBeGreaterThan(DELAY_MS * 0.9);
    expect(text).toMatch(/five[^]*\[DONE\]/);
  });

  it("stall-mid stops after some chunks, then goes on", async () => {
    const { url } = await startEngines();
    await setFailures(url, { kind: "stall-mid", afterChunks: 3, delayMs: 600_000, count: 1 });
    const response = await chat(url, WORDS, { stream: true });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while ((text.match(/^data: /gm) ?? []).length < 3) text += (await reader.read()).value;
    // The engine has generated everything; the fourth chunk is still held back.
    await eventually(async () => expect((await state(url)).running).toBe(0));
    const more = reader.read().then(({ value }) => value);
    expect(await Promise.race([more, state(url)])).toMatchObject({
      requests: [{ outcome: "open" }],
    });
    await reader.cancel();
    await setFailures(url, { kind: "stall-mid", afterChunks: 3, delayMs: DELAY_MS });
    for (const stream of [true, false]) {
      const { text: whole } = await timeOf(chat(url, WORDS, { stream }));
      expect(whole).toMatch(/five/);
    }
  });
});

describe("broken answers", () => {
  it("reset before the headers", async () => {
    const { url } = await startEngines();
    await setFailures(url, { kind: "reset" });
    for (const stream of [true, false]) {
      const error = await chat(url, WORDS, { stream }).catch((thrown: Error) => thrown);
      expect((error as Error).cause).toMatchObject({ code: "ECONNRESET" });
    }
    await eventually(async () => expect((await state(url)).running).toBe(0));
  });

  it("reset in the middle", async () => {
    const { url } = await startEngines();
    await setFailures(url, { kind: "reset", afterChunks: 1 });
    for (const stream of [true, false]) {
      const response = await chat(url, WORDS, { stream });
      expect(response.status).toBe(200);
      await expect(response.text()).rejects.toThrow(/terminated/);
    }
    await eventually(async () =>
      expect(await state(url)).toMatchObject({ running: 0, kvUsage: 0 }),
    );
  });

  it("malformed-chunk is one event that is not JSON, with the others around it", async () => {
    const { url } = await startEngines();
    await setFailures(url, { kind: "malformed-chunk", afterChunks: 2 });
    const events = await readEvents(await chat(url, WORDS, { stream: true }));
    const broken = events.slice(0, -1).map((event) => {
      try {
        JSON.parse(event);
        return false;
      } catch {
        return true;
      }
    });
    expect(broken.filter(Boolean)).toHaveLength(1);
    expect(broken[2]).toBe(true);
    expect(events.at(-1)).toBe("[DONE]");
    await setFailures(url, { kind: "malformed-chunk" });
    await expect(readBody(chat(url, WORDS))).rejects.toThrow(/JSON/);
  });
});

describe("refuse", () => {
  it("resets connections, refuses new ones, and listens again on the same port", async () => {
    const { url, ports } = await startEngines({ mode: "random", "inter-token-latency": 20_000 });
    const running = await chat(url, "x", { stream: true, max_tokens: 100, ignore_eos: true });
    await setFailures(url, { kind: "refuse", delayMs: 300 });
    await expect(running.text()).rejects.toThrow(/terminated/);
    const refusal = await new Promise<unknown>((resolve) => {
      connect(ports[0]!, "127.0.0.1").on("error", resolve).on("connect", resolve);
    });
    expect(refusal).toMatchObject({ code: "ECONNREFUSED" });
    await eventually(async () => expect((await fetch(`${url}/health`)).status).toBe(200));
    expect(await state(url)).toMatchObject({ running: 0, aborted: 1 });
  });
});

describe("/sim/failures", () => {
  it("shows, replaces and clears", async () => {
    const { url } = await startEngines({ failures: [{ kind: "503", rate: 1 }] });
    const shown = async () => (await fetch(`${url}/sim/failures`)).json();
    expect(await shown()).toEqual([{ kind: "503", rate: 1 }]);
    await setFailures(url, [{ kind: "429", rate: 0.5, count: 2 }]);
    expect(await shown()).toEqual([{ kind: "429", rate: 0.5, count: 2 }]);
    await fetch(`${url}/sim/failures`, { method: "DELETE" });
    expect(await shown()).toEqual([]);
    expect((await chat(url, "x")).status).toBe(200);
  });

  it.for([
    { name: "not JSON", body: "nope" },
    { name: "an unknown kind", body: { kind: "explode" } },
    { name: "an unknown field", body: { kind: "429", rates: 1 } },
    { name: "a rate above 1", body: { kind: "429", rate: 2 } },
    { name: "too many", body: Array.from({ length: 17 }, () => ({ kind: "429" })) },
  ])("refuses $name", async ({ body }) => {
    const { url } = await startEngines();
    const response = await post(`${url}/sim/failures`, body);
    expect(response.status).toBe(400);
    expect((await chat(url, "x")).status).toBe(200);
  });
});

describe("FailureInjector", () => {
  const injector = (failures: string) => {
    const parsed = parseFailures(failures);
    if (!parsed.ok) throw new Error(parsed.message);
    const config = { failures: parsed.value, ratePercent: 0, types: [] };
    return new FailureInjector(config, createRng(1));
  };

  it("fails the share it is told", () => {
    const half = injector('{"kind":"429","rate":0.5}');
    let failed = 0;
    for (let i = 0; i < 1_000; i++) if (half.draw() !== undefined) failed++;
    expect(failed).toBeGreaterThan(430);
    expect(failed).toBeLessThan(570);
  });

  it("stops after its count, then leaves room for the next", () => {
    const two = injector('[{"kind":"429","count":2},{"kind":"503","count":1}]');
    const statuses = Array.from({ length: 4 }, () => {
      const injection = two.draw();
      return injection?.kind === "error" ? injection.error.status : undefined;
    });
    expect(statuses).toEqual([429, 429, 503, undefined]);
    expect(two.active).toEqual([]);
  });
});

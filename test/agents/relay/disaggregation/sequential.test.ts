// Prefill, then decode, over real sockets: a signed request, scripted engines, and what the object is told.

import { afterEach, describe, expect, it, vi } from "vitest";
import {
  DESTINATION_SERVED_HEADER,
  FAIRLEAD_ATTEMPTS_HEADER,
} from "../../../../src/agents/protocol/headers.ts";
import {
  CHAT,
  runSplitRelay,
  startScriptedEngine,
  type Script,
  type ScriptedEngine,
  type SplitRelay,
  type SplitRelayOptions,
} from "../../support/split-relay.ts";

const WAIT = { timeout: 10_000 };
const NOBODY = "127.0.0.1:1";
/** Past 2^53, with a key that nobody knows. */
const PARAMS = '{"do_remote_prefill":true,"remote_block_ids":[[1,2]],"x":12345678901234567890}';
const USAGE = {
  prompt_tokens: 40,
  completion_tokens: 1,
  prompt_tokens_details: { cached_tokens: 8 },
};
const PREFILLED = `{"choices":[],"usage":${JSON.stringify(USAGE)},"kv_transfer_params":${PARAMS}}`;
const ANSWER = JSON.stringify({
  choices: [{ message: { content: "hi" }, finish_reason: "stop" }],
  usage: { ...USAGE, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 39 } },
});

const json =
  (text: string, status = 200): Script =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(text);
const prefillOk = json(PREFILLED);
const decodeOk = json(ANSWER);
const hang: Script = () => undefined;
const reset: Script = (response) => response.socket!.resetAndDestroy();
const resetInBody: Script = (response) => {
  response.writeHead(200, { "content-type": "application/json" }).write(PREFILLED.slice(0, 40));
  setTimeout(() => response.socket!.resetAndDestroy(), 20);
};

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

interface Pod {
  readonly relay: SplitRelay;
  readonly prefillers: ScriptedEngine[];
  readonly decoders: ScriptedEngine[];
  ask(body?: string, signal?: AbortSignal): Promise<Response>;
}

async function pods(
  prefill: readonly Script[],
  decode: readonly Script[],
  options: SplitRelayOptions = {},
): Promise<Pod> {
  const start = async (script: Script) => stack.use(await startScriptedEngine(script));
  const prefillers = await Promise.all(prefill.map(start));
  const decoders = await Promise.all(decode.map(start));
  const unreachable = { address: NOBODY };
  const relay = stack.use(await runSplitRelay([...prefillers, ...decoders, unreachable], options));
  return {
    relay,
    prefillers,
    decoders,
    ask: (body, signal) =>
      relay.open(
        decoders.map(({ address }) => address),
        { prefill: prefillers.map(({ address }) => address).join(",") },
        body,
        signal === undefined ? {} : { signal },
      ),
  };
}

async function closedOf({ relay }: Pod) {
  await vi.waitFor(() => expect(relay.closed().length).toBeGreaterThan(0), WAIT);
  return relay.closed().at(-1)!;
}
/** Marks that were told, in order. */
const marked = ({ relay }: Pod) => relay.lines.filter(({ msg }) => msg === "endpoint marked");
const paramsOf = (text: string) =>
  (JSON.parse(text) as Record<string, unknown>)["kv_transfer_params"];
const isAlone = (text: string) => text === CHAT;

describe("prefill, then decode", () => {
  it("hands the parameters over byte for byte, and reports each phase", async () => {
    const made = await pods([prefillOk], [decodeOk]);
    const answer = await made.ask();
    expect(answer.status).toBe(200);
    const [prefiller, decoder] = [made.prefillers[0]!, made.decoders[0]!];
    expect(JSON.parse(prefiller.legs[0]!.text)).toMatchObject({ max_tokens: 1, stream: false });
    expect(decoder.legs[0]!.text).toContain(`"kv_transfer_params":${PARAMS}`);
    expect(answer.headers.get(DESTINATION_SERVED_HEADER)).toBe(decoder.address);
    const usage = ((await answer.json()) as { usage: unknown }).usage;
    expect(usage).toEqual({ ...USAGE, completion_tokens: 3 });
    const closed = await closedOf(made);
    expect(closed).toMatchObject({
      outcome: "ok",
      endpoint: decoder.address,
      cachedTokens: 8,
      stages: {
        connector: "nixlv2",
        prefill: prefiller.address,
        outcome: "ok",
        failed: [],
        isDecodeOnly: false,
        isStranded: false,
      },
    });
    const kinds = made.relay.object.tickets.map((report) => [report.kind, report.endpoint]);
    expect(kinds).toEqual([
      ["opened", decoder.address],
      ["prefilled", prefiller.address],
      ["closed", decoder.address],
    ]);
    expect(made.relay.prefilled()[0]).toMatchObject({
      outcome: "ok",
      promptTokens: 40,
      cachedTokens: 8,
    });
    expect(
      made.relay.metric('fairlead_relay_splits_total{connector="nixlv2",result="split"}'),
    ).toBe(1);
    const line = made.relay.lines.find(({ msg }) => msg === "request");
    expect(line).toMatchObject({ stages: { outcome: "ok" } });
  });

  it("gives both legs one request id and traces of their own, and nothing of the edge's", async () => {
    const made = await pods([prefillOk], [decodeOk]);
    await (await made.ask()).text();
    const legs = [made.prefillers[0]!.legs[0]!, made.decoders[0]!.legs[0]!];
    const ids = legs.map(({ headers }) => headers["x-request-id"]);
    expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(ids[1]).toBe(ids[0]);
    const traces = legs.map(({ headers }) => String(headers["traceparent"]).split("-"));
    expect(traces[0]![1]).toBe(traces[1]![1]);
    expect(traces[0]![2]).not.toBe(traces[1]![2]);
    for (const { headers } of legs) {
      const foreign = Object.keys(headers).filter((name) => /^x-(?!request-id)/.test(name));
      expect(foreign).toEqual([]);
    }
  });

  it("replaces cached tokens in a stream, and takes out usage that nobody asked for", async () => {
    const events = [
      'data: {"choices":[{"delta":{"content":"\\"usage\\":{}"},"finish_reason":null}],"usage":null}\n\n',
      'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
      'data: {"choices":[],"usage":{"prompt_tokens":40,"prompt_tokens_details":{"cached_tokens":39}}}\n\n',
      "data: [DONE]\n\n",
    ];
    const streamed: Script = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const event of events) response.write(event);
      response.end();
    };
    const made = await pods([prefillOk], [streamed]);
    const asks = { model: "m", stream: true, stream_options: { include_usage: true } };
    const asked = await (await made.ask(JSON.stringify(asks))).text();
    expect(asked).toBe(events.join("").replace('"cached_tokens":39', '"cached_tokens":8'));
    const unasked = await (await made.ask('{"model":"m","stream":true}')).text();
    expect(unasked).not.toContain("cached_tokens");
    expect(await closedOf(made)).toMatchObject({ promptTokens: 40, cachedTokens: 8 });
    expect(JSON.parse(made.prefillers[0]!.legs[1]!.text)).not.toHaveProperty("stream_options");
  });

  it("is reported again to an object that says late that it wants to know of it", async () => {
    const made = await pods([prefillOk], [decodeOk]);
    const { object } = made.relay;
    object.isAcking = false;
    await (await made.ask()).text();
    await closedOf(made);
    object.configureAfterMs = 50;
    object.socket!.terminate();
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(2), WAIT);
    expect(made.relay.prefilled()).toHaveLength(2);
    expect(made.relay.closed()[1]).toEqual(made.relay.closed()[0]);
  });

  it("asks an endpoint that was chosen for both only once", async () => {
    const made = await pods([], [decodeOk]);
    const { address } = made.decoders[0]!;
    await (await made.relay.open([address], { prefill: address })).text();
    expect(made.decoders[0]!.legs.map(({ text }) => isAlone(text))).toEqual([true]);
    expect(await closedOf(made)).not.toHaveProperty("stages");
  });
});

describe("a prefill that fails", () => {
  const failures: Record<string, { script: Script; outcome: string; options?: SplitRelayOptions }> =
    {
      "429": { script: json("{}", 429), outcome: "overloaded" },
      "502": { script: json("{}", 502), outcome: "unavailable" },
      "503": { script: json("{}", 503), outcome: "unavailable" },
      "504": { script: json("{}", 504), outcome: "unavailable" },
      "a reset": { script: reset, outcome: "broken" },
      "a reset in its body": { script: resetInBody, outcome: "broken" },
      "no answer in time": {
        script: hang,
        outcome: "timeout",
        options: { policy: { timeoutMs: 150 } },
      },
    };
  const inTime = Object.entries(failures).filter(([, { outcome }]) => outcome !== "timeout");

  it.for(inTime)(
    "with %s is asked of another prefiller",
    async ([, { script, outcome, options }]) => {
      const made = await pods([script, prefillOk], [decodeOk], options);
      expect((await made.ask()).status).toBe(200);
      const [first, second] = made.prefillers.map(({ address }) => address);
      expect(await closedOf(made)).toMatchObject({
        stages: { prefill: second, failed: [first], outcome: "ok", isDecodeOnly: false },
      });
      expect(made.relay.prefilled()).toMatchObject([
        { endpoint: first, outcome },
        { endpoint: second, outcome: "ok" },
      ]);
      expect(paramsOf(made.decoders[0]!.legs[0]!.text)).toBeDefined();
    },
  );

  it.for(Object.entries(failures))(
    "with %s leaves the decoder to compute, where nobody else is left",
    async ([, { script, outcome, options }]) => {
      const made = await pods([script], [decodeOk], options);
      const answer = await made.ask();
      expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
      expect(isAlone(made.decoders[0]!.legs[0]!.text)).toBe(true);
      expect(await closedOf(made)).toMatchObject({
        cachedTokens: 39,
        stages: { outcome, isDecodeOnly: true, isStranded: false },
      });
    },
  );

  it("is not asked of the decoder, though that is listed, too", async () => {
    const made = await pods([json("{}", 503)], [decodeOk]);
    const [prefiller, decoder] = [made.prefillers[0]!.address, made.decoders[0]!];
    const listed = `${prefiller},${decoder.address}`;
    await (await made.relay.open([decoder.address], { prefill: listed })).text();
    expect(decoder.legs.map(({ text }) => isAlone(text))).toEqual([true]);
    expect(await closedOf(made)).toMatchObject({ stages: { prefill: prefiller, failed: [] } });
  });

  it("asks at most retriesMax others", async () => {
    const full = json("{}", 503);
    const made = await pods([full, full, prefillOk], [decodeOk]);
    expect((await made.ask()).status).toBe(200);
    expect(made.prefillers.map(({ legs }) => legs.length)).toEqual([1, 1, 0]);
    expect(await closedOf(made)).toMatchObject({ stages: { isDecodeOnly: true } });
  });

  it("asks nobody else when the retry budget is empty", async () => {
    const made = await pods([json("{}", 503), json("{}", 503)], [decodeOk]);
    for (let i = 0; i < 6; i++) {
      const asked = Array.from({ length: 50 }, async () => (await made.ask()).text());
      await Promise.all(asked);
    }
    const [first, second] = made.prefillers.map(({ legs }) => legs.length);
    expect(first! + second!).toBeLessThan(600);
    expect(made.relay.metric("fairlead_relay_retries_denied_total")).toBeGreaterThan(0);
  });

  it("cannot be reached: the next is asked, and the endpoint is marked", async () => {
    const made = await pods([prefillOk], [decodeOk]);
    const [decoder] = made.decoders;
    const [prefiller] = made.prefillers;
    const ask = () =>
      made.relay.open([decoder!.address], { prefill: `${NOBODY},${prefiller!.address}` });
    await (await ask()).text();
    expect(await closedOf(made)).toMatchObject({
      stages: { failed: [NOBODY], prefill: prefiller!.address, isDecodeOnly: false },
    });
    await (await ask()).text();
    await vi.waitFor(() => expect(made.relay.prefilled()).toHaveLength(3), WAIT);
    expect(made.relay.prefilled()[2]).toMatchObject({ endpoint: prefiller!.address });
  });

  it("in time leaves none for another", async () => {
    const made = await pods([hang, prefillOk], [decodeOk], { policy: { timeoutMs: 150 } });
    expect((await made.ask()).status).toBe(200);
    expect(made.prefillers[1]!.legs).toEqual([]);
    expect(await closedOf(made)).toMatchObject({ stages: { outcome: "timeout" } });
    expect(made.relay.prefilled()).toMatchObject([{ outcome: "timeout", isLast: true }]);
  });

  it("in time twice: the endpoint is asked after others", async () => {
    const made = await pods([hang, prefillOk], [decodeOk], { policy: { timeoutMs: 150 } });
    for (let i = 0; i < 3; i++) expect((await made.ask()).status).toBe(200);
    expect(made.prefillers.map(({ legs }) => legs.length)).toEqual([2, 1]);
    expect(marked(made)).toMatchObject([{ endpoint: made.prefillers[0]!.address, why: "timeout" }]);
  });

  it("inside its answer: the endpoint is asked after others at once", async () => {
    const made = await pods([resetInBody, prefillOk], [decodeOk]);
    for (let i = 0; i < 2; i++) expect((await made.ask()).status).toBe(200);
    expect(made.prefillers.map(({ legs }) => legs.length)).toEqual([1, 2]);
    expect(marked(made)).toMatchObject([{ endpoint: made.prefillers[0]!.address, why: "reset" }]);
  });

  it("and breaks a second endpoint marks only the first", async () => {
    const made = await pods([resetInBody, resetInBody], [decodeOk]);
    expect((await made.ask()).status).toBe(200);
    expect(marked(made)).toMatchObject([{ endpoint: made.prefillers[0]!.address }]);
  });

  it.for([
    { outcome: "unavailable", script: json("{}", 503), isLast: false },
    { outcome: "engine-error", script: json("{}", 500), isLast: true },
    { outcome: "no-parameters", script: json("{}"), isLast: true },
    { outcome: "ok", script: prefillOk, isLast: true },
  ])("says whether it was the last: $outcome", async ({ outcome, script, isLast }) => {
    const made = await pods([script, prefillOk], [decodeOk]);
    expect((await made.ask()).status).toBe(200);
    await closedOf(made);
    expect(made.relay.prefilled()[0]).toMatchObject({ outcome, isLast });
  });

  it.for([
    { name: "no retries", policy: { retriesMax: 0 }, prefill: [503, 503] },
    { name: "nobody else", policy: {}, prefill: [503] },
  ])("was the last with $name", async ({ policy, prefill }) => {
    const made = await pods(
      prefill.map((status) => json("{}", status)),
      [decodeOk],
      { policy },
    );
    expect((await made.ask()).status).toBe(200);
    await closedOf(made);
    expect(made.relay.prefilled()).toMatchObject([{ outcome: "unavailable", isLast: true }]);
  });

  it.for([400, 401, 404, 413, 422])("with %i is the client's own answer", async (status) => {
    const made = await pods([json('{"error":{"message":"no"}}', status), prefillOk], [decodeOk]);
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([status, '{"error":{"message":"no"}}']);
    expect(answer.headers.get(DESTINATION_SERVED_HEADER)).toBe(made.prefillers[0]!.address);
    expect([...made.prefillers.slice(1), ...made.decoders].flatMap(({ legs }) => legs)).toEqual([]);
    expect(await closedOf(made)).toMatchObject({
      outcome: "engine-error",
      status,
      stages: { outcome: "refused", isDecodeOnly: false },
    });
  });

  it.for([
    { onEngineError: "decode", status: 200 },
    { onEngineError: "return", status: 500 },
  ] as const)("with 500: $onEngineError", async ({ onEngineError, status }) => {
    const made = await pods([json("{}", 500), prefillOk], [decodeOk], {
      policy: { onEngineError },
    });
    expect((await made.ask()).status).toBe(status);
    expect(made.prefillers[1]!.legs).toHaveLength(0);
    expect(await closedOf(made)).toMatchObject({
      stages: { outcome: "engine-error", isDecodeOnly: status === 200 },
    });
  });

  it.for(["{}", '{"kv_transfer_params":null}', "no JSON", ""])(
    "answers %j: the decoder computes",
    async (text) => {
      const made = await pods([json(text), prefillOk], [decodeOk]);
      expect((await made.ask()).status).toBe(200);
      expect(made.prefillers[1]!.legs).toHaveLength(0);
      expect(isAlone(made.decoders[0]!.legs[0]!.text)).toBe(true);
      expect(await closedOf(made)).toMatchObject({
        stages: { outcome: "no-parameters", isDecodeOnly: true, isStranded: false },
      });
    },
  );
});

describe("a decoder that fails after the prefill", () => {
  it.for([
    { name: "429", script: json("{}", 429), isUsedAgain: true },
    { name: "502", script: json("{}", 502), isUsedAgain: true },
    { name: "503", script: json("{}", 503), isUsedAgain: true },
    { name: "a reset", script: reset, isUsedAgain: false },
  ])("with $name: parameters are used again: $isUsedAgain", async ({ script, isUsedAgain }) => {
    const made = await pods([prefillOk], [script, decodeOk]);
    const answer = await made.ask();
    expect(answer.status).toBe(200);
    expect(answer.headers.get(FAIRLEAD_ATTEMPTS_HEADER)).toBe("2");
    const { text } = made.decoders[1]!.legs[0]!;
    expect(paramsOf(text) !== undefined).toBe(isUsedAgain);
    expect(made.prefillers[0]!.legs).toHaveLength(1);
    const usage = ((await answer.json()) as { usage: typeof USAGE }).usage;
    expect(usage.prompt_tokens_details.cached_tokens).toBe(isUsedAgain ? 8 : 39);
    expect(await closedOf(made)).toMatchObject({
      failed: [made.decoders[0]!.address],
      stages: { isDecodeOnly: !isUsedAgain, isStranded: !isUsedAgain },
    });
  });

  it("cannot be reached: the next is handed the parameters", async () => {
    const made = await pods([prefillOk], [decodeOk]);
    const [decoder, prefiller] = [made.decoders[0]!, made.prefillers[0]!];
    await (await made.relay.open([NOBODY, decoder.address], { prefill: prefiller.address })).text();
    expect(paramsOf(decoder.legs[0]!.text)).toBeDefined();
  });

  it("with a 5xx to what was handed over: it computes, and the client sees nothing of it", async () => {
    let asked = 0;
    const made = await pods(
      [prefillOk],
      [
        (response, leg) => {
          asked += 1;
          (asked === 1 ? json('{"error":"transfer failed"}', 500) : decodeOk)(response, leg);
        },
      ],
    );
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
    expect(made.decoders[0]!.legs.map(({ text }) => isAlone(text))).toEqual([false, true]);
    expect(await closedOf(made)).toMatchObject({
      stages: { outcome: "ok", isDecodeOnly: true, isStranded: true },
    });
  });

  it.for([
    ["in one piece", 0],
    ["that goes on", 20],
  ] as const)("with a stream %s that begins with an error: it computes", async ([, pauseMs]) => {
    const failed: Script = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"error":{"message":"transfer failed"}}\n\n');
      setTimeout(() => response.end("data: [DONE]\n\n"), pauseMs);
    };
    const good: Script = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n');
      setTimeout(() => response.end("data: [DONE]\n\n"), pauseMs);
    };
    const made = await pods(
      [prefillOk],
      [(response, leg) => (leg.text.includes("kv_transfer_params") ? failed : good)(response, leg)],
    );
    const text = await (await made.ask('{"model":"m","stream":true}')).text();
    expect(text).toContain('"hi"');
    expect(text).toMatch(/\[DONE\]\n\n$/);
    expect(text).not.toContain("error");
    expect(await closedOf(made)).toMatchObject({
      outcome: "ok",
      stages: { outcome: "ok", isDecodeOnly: true, isStranded: true },
    });
    // A good stream that was looked at is whole.
    made.decoders[0]!.script = good;
    const whole = await (await made.ask('{"model":"m","stream":true}')).text();
    expect(whole).toBe(
      'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    );
  });

  it("with a 5xx to that, too: the client gets it", async () => {
    const made = await pods([prefillOk], [json('{"e":1}', 500)]);
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([500, '{"e":1}']);
    expect(made.decoders[0]!.legs).toHaveLength(2);
    const stranded = 'fairlead_relay_stranded_handoffs_total{connector="nixlv2"}';
    await closedOf(made);
    expect(made.relay.metric(stranded)).toBe(1);
  });

  it("is not handed what it computed itself, where it prefilled", async () => {
    const made = await pods([], [json("{}", 503)]);
    const both = stack.use(
      await startScriptedEngine((response, leg) =>
        (isAlone(leg.text) ? decodeOk : prefillOk)(response, leg),
      ),
    );
    const relay = stack.use(await runSplitRelay([both, made.decoders[0]!]));
    const asked = [made.decoders[0]!.address, both.address];
    const answer = await relay.open(asked, { prefill: both.address });
    expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
  });
});

describe("a client that leaves", () => {
  it("while the prefill runs ends it, and nobody decodes", async () => {
    const made = await pods([hang], [decodeOk]);
    const leaving = new AbortController();
    const asked = made.ask(CHAT, leaving.signal).catch(() => undefined);
    await vi.waitFor(() => expect(made.prefillers[0]!.legs).toHaveLength(1), WAIT);
    leaving.abort();
    await asked;
    await vi.waitFor(() => expect(made.prefillers[0]!.legs[0]!.isAborted).toBe(true), WAIT);
    expect(await closedOf(made)).toMatchObject({
      outcome: "cancelled",
      endpoint: made.decoders[0]!.address,
      stages: { outcome: "cancelled", isDecodeOnly: false, isStranded: false },
    });
    expect(made.decoders[0]!.legs).toHaveLength(0);
    expect(made.relay.prefilled()).toMatchObject([{ outcome: "cancelled" }]);
  });

  it("before the decoder has taken what was prefilled strands it, which is counted", async () => {
    const made = await pods([prefillOk], [hang]);
    const leaving = new AbortController();
    const asked = made.ask(CHAT, leaving.signal).catch(() => undefined);
    await vi.waitFor(() => expect(made.decoders[0]!.legs).toHaveLength(1), WAIT);
    leaving.abort();
    await asked;
    await vi.waitFor(() => expect(made.decoders[0]!.legs[0]!.isAborted).toBe(true), WAIT);
    expect(await closedOf(made)).toMatchObject({
      outcome: "cancelled",
      stages: { outcome: "ok", isStranded: true },
    });
    const stranded = 'fairlead_relay_stranded_handoffs_total{connector="nixlv2"}';
    expect(made.relay.metric(stranded)).toBe(1);
  });

  it("in the middle of the answer ends the decoder's leg, and strands nothing", async () => {
    const made = await pods(
      [prefillOk],
      [
        (response) => {
          response.writeHead(200, { "content-type": "text/event-stream" });
          response.write('data: {"choices":[]}\n\n');
        },
      ],
    );
    const leaving = new AbortController();
    const answer = await made.ask('{"model":"m","stream":true}', leaving.signal);
    await answer.body!.getReader().read();
    leaving.abort();
    await vi.waitFor(() => expect(made.decoders[0]!.legs[0]!.isAborted).toBe(true), WAIT);
    expect(await closedOf(made)).toMatchObject({
      outcome: "cancelled",
      stages: { outcome: "ok", isDecodeOnly: false, isStranded: false },
    });
  });
});

describe("what cannot be split is served whole", () => {
  it.for([
    { name: "a body that is no JSON object", body: "[1]", outcome: "unsupported" },
    { name: "a key that stands twice", body: '{"a":1,"a":2}', outcome: "unsupported" },
  ])("$name", async ({ body, outcome }) => {
    const made = await pods([prefillOk], [decodeOk]);
    expect((await made.ask(body)).status).toBe(200);
    expect(made.decoders[0]!.legs[0]!.text).toBe(body);
    expect(await closedOf(made)).toMatchObject({ stages: { outcome, isDecodeOnly: true } });
  });

  it("engines of two families", async () => {
    const prefiller = stack.use(
      await startScriptedEngine(prefillOk, { "llm-d.ai/engine-type": "sglang" }),
    );
    const decoder = stack.use(await startScriptedEngine(decodeOk));
    const relay = stack.use(await runSplitRelay([prefiller, decoder]));
    await (await relay.open([decoder.address], { prefill: prefiller.address })).text();
    expect(prefiller.legs).toHaveLength(0);
    expect(isAlone(decoder.legs[0]!.text)).toBe(true);
  });

  it("a body for whose legs there is no room", async () => {
    const body = JSON.stringify({ model: "m", x: "y".repeat(2_000) });
    const heldBodyBytesMax = 2 * Buffer.byteLength(body);
    const made = await pods([prefillOk], [decodeOk], { limits: { heldBodyBytesMax } });
    expect((await made.ask(body)).status).toBe(200);
    expect(made.prefillers[0]!.legs).toHaveLength(0);
    expect(await closedOf(made)).toMatchObject({ stages: { outcome: "busy", isDecodeOnly: true } });
    // Nothing of the room is lost.
    const small = await pods([prefillOk], [decodeOk], {
      limits: { heldBodyBytesMax: 3 * Buffer.byteLength(body) + PREFILLED.length },
    });
    for (let i = 0; i < 3; i++) await (await small.ask(body)).text();
    expect(small.prefillers[0]!.legs).toHaveLength(3);
  });
});

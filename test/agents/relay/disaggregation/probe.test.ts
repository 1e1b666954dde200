// Decoders of a shared storage that are asked first, over real sockets.

import { afterEach, describe, expect, it, vi } from "vitest";
import { PROBED_BYTES_MAX } from "../../../../src/agents/relay/disaggregation/probe.ts";
import {
  runSplitRelay,
  startScriptedEngine,
  type Script,
  type ScriptedEngine,
  type SplitRelay,
} from "../../support/split-relay.ts";

const LABELS = { "fairlead/kv-connector": "shared-storage" };
const WAIT = { timeout: 5_000 };
const BODY = '{"cache_hit_threshold":0.5,"model":"m","max_tokens":7}';
const STREAM = BODY.replace("{", '{"stream_options":{"include_usage":true},"stream":true,');
const MET = '"cache_hit_threshold":0,';

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

interface Pod {
  readonly relay: SplitRelay;
  readonly prefiller: ScriptedEngine;
  readonly decoder: ScriptedEngine;
  ask(body?: string, signal?: AbortSignal): Promise<Response>;
}

async function pods(decode: Script, engines: { cacheHitThreshold?: number } = {}): Promise<Pod> {
  const prefiller = stack.use(await startScriptedEngine(json('{"choices":[]}'), LABELS));
  const decoder = stack.use(await startScriptedEngine(decode, LABELS));
  const relay = stack.use(await runSplitRelay([prefiller, decoder], { engines }));
  return {
    relay,
    prefiller,
    decoder,
    ask: (body = BODY, signal) =>
      relay.open(
        [decoder.address],
        { prefill: prefiller.address },
        body,
        signal === undefined ? {} : { signal },
      ),
  };
}

const json =
  (text: string, status = 200): Script =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(text);
const finished = (reason: string) => `{"choices":[{"message":{},"finish_reason":"${reason}"}]}`;
const event = (reason: string | null) =>
  `data: {"choices":[{"delta":{"content":"x"},"finish_reason":${JSON.stringify(reason)}}]}\n\n`;
const isMet = (leg: { text: string }) => leg.text.includes(MET);

/** Ends with cache_threshold until the threshold is 0. */
const unmet: Script = (response, leg) => {
  const reason = isMet(leg) ? "stop" : "cache_threshold";
  if (!leg.text.includes('"stream":true')) return json(finished(reason))(response, leg);
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(`${event(null)}${event(reason)}data: [DONE]\n\n`);
};

describe("a decoder that is asked first", () => {
  it.for([BODY, STREAM])("answers the client where it holds enough: %s", async (body) => {
    const made = await pods((response, leg) => {
      if (!leg.text.includes('"stream":true')) return json(finished("stop"))(response, leg);
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const reason of [null, null, "stop"]) response.write(event(reason));
      response.end("data: [DONE]\n\n");
    });
    const answer = await made.ask(body);
    expect([answer.status, await answer.text()]).toEqual([
      200,
      body === BODY
        ? finished("stop")
        : `${event(null)}${event(null)}${event("stop")}data: [DONE]\n\n`,
    ]);
    expect(made.decoder.legs.map(({ text }) => text)).toEqual([body]);
    expect(made.prefiller.legs).toEqual([]);
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    expect(made.relay.closed()[0]).toMatchObject({
      outcome: "ok",
      stages: { outcome: "spared", isDecodeOnly: true, isStranded: false },
    });
    expect(made.relay.prefilled()[0]).toMatchObject({
      endpoint: made.prefiller.address,
      outcome: "spared",
    });
  });

  it.for([BODY, STREAM])("is asked again after a prefill where it does not: %s", async (body) => {
    const made = await pods(unmet);
    const answer = await made.ask(body);
    expect(answer.status).toBe(200);
    expect(await answer.text()).not.toContain("cache_threshold");
    expect(made.decoder.legs.map((leg) => isMet(leg))).toEqual([false, true]);
    expect(made.decoder.legs[0]!.text).toBe(body);
    expect(made.prefiller.legs).toHaveLength(1);
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    expect(made.relay.closed()[0]).toMatchObject({ stages: { outcome: "ok" } });
  });

  it("is asked by the relay's own threshold where a request has none", async () => {
    const made = await pods(unmet, { cacheHitThreshold: 0.25 });
    await (await made.ask('{"model":"m"}')).text();
    expect(made.decoder.legs.map(({ text }) => text)).toEqual([
      '{"cache_hit_threshold":0.25,"model":"m"}',
      '{"cache_hit_threshold":0,"model":"m"}',
    ]);
  });

  it("gives the client its refusal of the request", async () => {
    const made = await pods(json("no such model", 404));
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([404, "no such model"]);
    expect(made.prefiller.legs).toEqual([]);
  });

  it.for([429, 500, 503])(
    "is asked again after a prefill where it has trouble (%d)",
    async (status) => {
      const made = await pods((response, leg) => {
        const answer = isMet(leg) ? json(finished("stop")) : json("trouble", status);
        answer(response, leg);
      });
      const answer = await made.ask();
      expect([answer.status, await answer.text()]).toEqual([200, finished("stop")]);
      expect(made.prefiller.legs).toHaveLength(1);
    },
  );

  it("answers the client, where its answer is too long to be judged", async () => {
    const long = `{"choices":[{"message":{"content":"${"x".repeat(2 * PROBED_BYTES_MAX)}"}}]}`;
    const made = await pods(json(long));
    expect(await (await made.ask()).text()).toBe(long);
    expect(made.prefiller.legs).toEqual([]);
  });

  it("is told when the client leaves, and nobody prefills", async () => {
    const made = await pods((response) => {
      response.writeHead(200, { "content-type": "application/json" }).write('{"choices":');
    });
    const leaving = new AbortController();
    const answer = made.ask(BODY, leaving.signal);
    await vi.waitFor(() => expect(made.decoder.legs).toHaveLength(1), WAIT);
    leaving.abort();
    await expect(answer).rejects.toThrow(/abort/);
    await vi.waitFor(() => expect(made.decoder.legs[0]!.isAborted).toBe(true), WAIT);
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    expect(made.prefiller.legs).toEqual([]);
  });

  it.for([BODY, STREAM])(
    "is asked again after a prefill where it breaks off before it is judged: %s",
    async (body) => {
      const type = body === STREAM ? "text/event-stream" : "application/json";
      const made = await pods((response, leg) => {
        if (isMet(leg)) return unmet(response, leg);
        response.writeHead(200, { "content-type": type });
        response.write('data: {"choices":', () => response.socket!.resetAndDestroy());
      });
      const answer = await made.ask(body);
      expect(answer.status).toBe(200);
      expect(await answer.text()).toContain('"finish_reason":"stop"');
      expect(made.prefiller.legs).toHaveLength(1);
    },
  );

  it("passes a request on to another decoder where it is full", async () => {
    const full = await pods(json("full", 429));
    const free = stack.use(await startScriptedEngine(unmet, LABELS));
    const { prefiller, decoder } = full;
    await using relay = await runSplitRelay([prefiller, decoder, free]);
    const destinations = [decoder.address, free.address];
    const answer = await relay.open(destinations, { prefill: prefiller.address }, BODY);
    expect([answer.status, await answer.text()]).toEqual([200, finished("stop")]);
    expect(prefiller.legs).toHaveLength(1);
  });

  it("breaks off for the client where it breaks off after it began", async () => {
    const made = await pods((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(event(null) + event(null), () => response.socket!.resetAndDestroy());
    });
    const text = await (await made.ask(STREAM)).text();
    expect(text).toContain("engine_lost");
    expect(text).not.toContain("[DONE]");
  });
});

// Prefill and decode at once, over real sockets: engines that meet in a room, as SGLang's do.

import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { RELAY_ERROR_HEADER } from "../../../../src/agents/protocol/headers.ts";
import {
  runSplitRelay,
  startScriptedEngine,
  type LegSeen,
  type Script,
  type ScriptedEngine,
  type SplitRelay,
  type SplitRelayOptions,
} from "../../support/split-relay.ts";

const WAIT = { timeout: 10_000 };
const NOBODY = "127.0.0.1:1";
const SGLANG = { "llm-d.ai/engine-type": "sglang" };
const ANSWER = '{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}';
const json = (response: ServerResponse, text = ANSWER, status = 200) =>
  response.writeHead(status, { "content-type": "application/json" }).end(text);
const fail =
  (status: number): Script =>
  (response) =>
    json(response, `{"e":${status}}`, status);
const hang: Script = () => undefined;
const reset: Script = (response) => response.socket!.resetAndDestroy();

const roomOf = ({ text }: LegSeen) =>
  (JSON.parse(text) as { bootstrap_room?: number }).bootstrap_room;

/** Engines that answer when both legs of a room are there; a leg without a room at once. */
class Rooms {
  readonly #waiting = new Map<number, ServerResponse>();

  readonly meet: Script = (response, leg) => {
    const room = roomOf(leg);
    const other = room === undefined ? response : this.#waiting.get(room);
    if (other === undefined) {
      this.#waiting.set(room!, response);
      return;
    }
    json(response);
    if (other !== response) json(other);
  };
}

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

interface Pods {
  readonly relay: SplitRelay;
  readonly prefillers: ScriptedEngine[];
  readonly decoders: ScriptedEngine[];
  ask(body?: string, signal?: AbortSignal): Promise<Response>;
}

async function pods(
  prefill: readonly Script[],
  decode: readonly Script[],
  options: SplitRelayOptions = {},
  labels: Record<string, string> = SGLANG,
): Promise<Pods> {
  const start = async (script: Script) => stack.use(await startScriptedEngine(script, labels));
  const prefillers = await Promise.all(prefill.map(start));
  const decoders = await Promise.all(decode.map(start));
  const all = [...prefillers, ...decoders, { address: NOBODY, labels }];
  const relay = stack.use(await runSplitRelay(all, options));
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

async function closedOf({ relay }: Pods) {
  await vi.waitFor(() => expect(relay.closed().length).toBeGreaterThan(0), WAIT);
  return relay.closed().at(-1)!;
}

describe("prefill and decode at once", () => {
  it("meet in one room, and the decoder answers", async () => {
    const rooms = new Rooms();
    const made = await pods([rooms.meet], [rooms.meet]);
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
    const [p, d] = [made.prefillers[0]!.legs[0]!, made.decoders[0]!.legs[0]!];
    expect(roomOf(p)).toBe(roomOf(d));
    expect(p.text).toBe(d.text);
    expect(p.headers["x-request-id"]).toBe(d.headers["x-request-id"]);
    expect(await closedOf(made)).toMatchObject({
      outcome: "ok",
      endpoint: made.decoders[0]!.address,
      stages: { connector: "sglang", outcome: "ok", isDecodeOnly: false, isStranded: false },
    });
    const kinds = made.relay.object.tickets.map(({ kind }) => kind);
    expect(kinds).toEqual(["opened", "prefilled", "closed"]);
  });

  it("use another room for another request", async () => {
    const rooms = new Rooms();
    const made = await pods([rooms.meet], [rooms.meet]);
    for (let i = 0; i < 3; i++) await (await made.ask()).text();
    expect(new Set(made.decoders[0]!.legs.map(roomOf)).size).toBe(3);
  });

  it("a prefiller that is slow to end is ended with the answer, and that is no failure of it", async () => {
    const made = await pods([hang], [(response) => json(response)]);
    expect((await made.ask()).status).toBe(200);
    await vi.waitFor(() => expect(made.prefillers[0]!.legs[0]!.isAborted).toBe(true), WAIT);
    const closed = await closedOf(made);
    expect(closed).toMatchObject({
      outcome: "ok",
      stages: { outcome: "ok", isDecodeOnly: false, isStranded: false },
    });
    expect(made.relay.prefilled()).toMatchObject([{ outcome: "cancelled" }]);
  });
});

it("a prefill that fails after the answer has begun leaves the answer alone", async () => {
  let begin: (() => void) | undefined;
  const streamed: Script = (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
    begin = () => response.end('data: {"choices":[],"finish_reason":"stop"}\n\ndata: [DONE]\n\n');
  };
  let breakPrefill: (() => void) | undefined;
  const breaks: Script = (response) => {
    breakPrefill = () => response.socket!.resetAndDestroy();
  };
  const made = await pods([breaks], [streamed]);
  const answer = await made.ask('{"model":"m","stream":true}');
  const reader = answer.body!.getReader();
  await reader.read();
  breakPrefill!();
  await vi.waitFor(() => expect(made.relay.prefilled()).toHaveLength(1), WAIT);
  begin!();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    rest += Buffer.from(value).toString();
  }
  expect(rest).toContain("[DONE]");
  expect(await closedOf(made)).toMatchObject({
    outcome: "ok",
    stages: { outcome: "broken", isDecodeOnly: false },
  });
});

describe("a pair that waits for the decoder", () => {
  /** A head at once, and the rest after a while. */
  const queued: Script = (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    setTimeout(() => response.end(`data: ${ANSWER}\n\ndata: [DONE]\n\n`), 600);
  };
  const late: Script = (response) => setTimeout(() => json(response), 600);

  it("longer than prefills may take that come first", async () => {
    const made = await pods([late], [queued], { policy: { timeoutMs: 100 } });
    const answer = await made.ask('{"model":"m","stream":true}');
    expect(await answer.text()).toContain("[DONE]");
    expect(made.decoders[0]!.legs).toHaveLength(1);
    expect(await closedOf(made)).toMatchObject({ outcome: "ok", stages: { outcome: "ok" } });
  });

  it("when its answer is the client's already, for as long as it takes", async () => {
    const made = await pods([late], [queued], {
      policy: { pairTimeoutMs: 300 },
      limits: { headHeldMsMax: 100 },
    });
    const answer = await made.ask('{"model":"m","stream":true}');
    expect(await answer.text()).toContain("[DONE]");
    expect(await closedOf(made)).toMatchObject({ outcome: "ok", stages: { outcome: "ok" } });
  });

  it("when its answer is the client's already, though the prefill fails", async () => {
    const fails: Script = (response) => setTimeout(() => response.socket!.resetAndDestroy(), 300);
    const made = await pods([fails], [queued], { limits: { headHeldMsMax: 100 } });
    const answer = await made.ask('{"model":"m","stream":true}');
    expect(await answer.text()).toContain("[DONE]");
    expect(await closedOf(made)).toMatchObject({ outcome: "ok", stages: { outcome: "broken" } });
  });
});

describe("a prefill that fails ends the decoder's leg, which would wait for ever", () => {
  const failures: Record<string, Script> = {
    "429": fail(429),
    "503": fail(503),
    "a reset": reset,
    hanging: hang,
  };

  it.for(Object.entries(failures))(
    "with %s: another prefiller, in a new room",
    async ([, script]) => {
      const rooms = new Rooms();
      const made = await pods([script, rooms.meet], [rooms.meet], {
        policy: { pairTimeoutMs: 200 },
      });
      const answer = await made.ask();
      expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
      const [decoder] = made.decoders;
      expect(decoder!.legs).toHaveLength(2);
      expect(roomOf(decoder!.legs[0]!)).not.toBe(roomOf(decoder!.legs[1]!));
      await vi.waitFor(() => expect(decoder!.legs[0]!.isAborted).toBe(true), WAIT);
      expect(await closedOf(made)).toMatchObject({
        failed: [],
        stages: {
          prefill: made.prefillers[1]!.address,
          failed: [made.prefillers[0]!.address],
          outcome: "ok",
          isDecodeOnly: false,
        },
      });
    },
  );

  it.for(Object.entries(failures))(
    "with %s: nobody, at last, where decoders compute no prompt",
    async ([, script]) => {
      const rooms = new Rooms();
      const made = await pods([script], [rooms.meet], { policy: { pairTimeoutMs: 200 } });
      const answer = await made.ask();
      expect([answer.status, answer.headers.get(RELAY_ERROR_HEADER)]).toEqual([503, "no-prefill"]);
      expect(made.decoders[0]!.legs.map((leg) => roomOf(leg) === undefined)).toEqual([false]);
      expect(await closedOf(made)).toMatchObject({
        outcome: "unreachable",
        status: null,
        stages: { isDecodeOnly: false },
      });
    },
  );

  it("with nobody to ask: none, where decoders compute no prompt", async () => {
    const made = await pods([], [(response) => json(response)]);
    const answer = await made.relay.open([made.decoders[0]!.address], { prefill: "127.0.0.1:2" });
    expect([answer.status, answer.headers.get(RELAY_ERROR_HEADER)]).toEqual([503, "no-prefill"]);
    expect(made.decoders[0]!.legs).toEqual([]);
  });

  it("with a body that cannot be paired: the decoder says so", async () => {
    const made = await pods([hang], [fail(400)]);
    const answer = await made.ask('{"a":1,"a":2}');
    expect([answer.status, await answer.text()]).toEqual([400, '{"e":400}']);
    await closedOf(made);
    expect(made.relay.prefilled()).toMatchObject([{ outcome: "unsupported", isLast: true }]);
  });

  it("with an error inside a stream of 200", async () => {
    const says: Script = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end('data: {"error":{"message":"aborted","code":500}}\n\ndata: [DONE]\n\n');
    };
    const made = await pods([says], [hang]);
    expect((await made.ask()).status).toBe(503);
    expect(await closedOf(made)).toMatchObject({ stages: { outcome: "engine-error" } });
  });

  it("with a stream that ends before its end: another prefiller", async () => {
    const rooms = new Rooms();
    const stops: Script = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end('data: {"choices":[]}\n\n');
    };
    const made = await pods([stops, rooms.meet], [rooms.meet]);
    expect((await made.ask()).status).toBe(200);
    await closedOf(made);
    expect(made.relay.prefilled()[0]).toMatchObject({ outcome: "broken", isLast: false });
    expect(made.prefillers[1]!.legs).toHaveLength(1);
  });

  it("with a 400: the client gets it", async () => {
    const rooms = new Rooms();
    const made = await pods([fail(400)], [rooms.meet]);
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([400, '{"e":400}']);
    await vi.waitFor(() => expect(made.decoders[0]!.legs[0]!.isAborted).toBe(true), WAIT);
    expect(await closedOf(made)).toMatchObject({ status: 400, stages: { outcome: "refused" } });
  });

  it("with a 500: the client gets it, where decoders compute no prompt", async () => {
    const rooms = new Rooms();
    const made = await pods([fail(500), rooms.meet], [rooms.meet]);
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([500, '{"e":500}']);
    expect(made.prefillers[1]!.legs).toHaveLength(0);
  });
});

describe("a decoder that fails ends the prefiller's leg, which would wait for ever", () => {
  it.for([
    ["429", fail(429)],
    ["503", fail(503)],
    ["a reset", reset],
  ] as const)("with %s: the next decoder, in a new room", async ([, script]) => {
    const rooms = new Rooms();
    const made = await pods([rooms.meet], [script, rooms.meet]);
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
    const { legs } = made.prefillers[0]!;
    expect(legs).toHaveLength(2);
    expect(legs[0]!.isAborted).toBe(true);
    expect(roomOf(legs[1]!)).toBe(roomOf(made.decoders[1]!.legs[0]!));
    expect(await closedOf(made)).toMatchObject({
      failed: [made.decoders[0]!.address],
      stages: { outcome: "ok", isDecodeOnly: false, isStranded: false },
    });
  });

  it.for([400, 500])("with %i: the client gets it, and the prefill ends", async (status) => {
    const made = await pods([hang], [fail(status)]);
    expect((await made.ask()).status).toBe(status);
    // What may be the hand-over's doing is tried with another one first.
    expect(made.decoders[0]!.legs).toHaveLength(status === 500 ? 2 : 1);
    await vi.waitFor(() => expect(made.prefillers[0]!.legs[0]!.isAborted).toBe(true), WAIT);
    expect(await closedOf(made)).toMatchObject({ stages: { outcome: "cancelled" } });
  });
});

it("a client that leaves ends both legs at once", async () => {
  const made = await pods([hang], [hang]);
  const leaving = new AbortController();
  const asked = made.ask(undefined, leaving.signal).catch(() => undefined);
  await vi.waitFor(() => {
    expect([made.prefillers[0]!.legs.length, made.decoders[0]!.legs.length]).toEqual([1, 1]);
  }, WAIT);
  leaving.abort();
  await asked;
  await vi.waitFor(() => {
    const legs = [made.prefillers[0]!.legs[0]!, made.decoders[0]!.legs[0]!];
    expect(legs.map(({ isAborted }) => isAborted)).toEqual([true, true]);
  }, WAIT);
  expect(await closedOf(made)).toMatchObject({
    outcome: "cancelled",
    stages: { outcome: "cancelled", isDecodeOnly: false, isStranded: false },
  });
});

describe("a connector that asks a bootstrap server", () => {
  const labels = { "fairlead/kv-connector": "mooncake" };

  async function bootstrap(text: string) {
    let asked = 0;
    const server = createServer((_request, response) => {
      asked += 1;
      response.end(text);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    stack.defer(() => void server.close());
    return { port: (server.address() as AddressInfo).port, asked: () => asked };
  }

  it("asks it once for many requests", async () => {
    const { port, asked } = await bootstrap('{"0":{"engine_id":"e-1"}}');
    const answer: Script = (response) => json(response);
    const made = await pods([answer], [answer], { mooncakePort: port }, labels);
    for (let i = 0; i < 3; i++) expect((await made.ask()).status).toBe(200);
    expect(made.decoders[0]!.legs[2]!.text).toContain('"remote_engine_id":"e-1"');
    expect(made.prefillers[0]!.legs[2]!.headers["x-data-parallel-rank"]).toBe("0");
    expect(asked()).toBe(1);
  });

  it("asks another prefiller where it names no engine", async () => {
    const saidOf: Record<string, string> = {
      "127.0.0.1": "{}",
      "127.0.0.2": '{"0":{"engine_id":"e-2"}}',
    };
    const server = createServer(({ socket }, response) => {
      response.end(saidOf[socket.localAddress!]);
    });
    server.listen(0, "0.0.0.0");
    await once(server, "listening");
    stack.defer(() => void server.close());
    const mooncakePort = (server.address() as AddressInfo).port;
    const answer: Script = (response) => json(response);
    const [starting, decoder] = [
      stack.use(await startScriptedEngine(answer, labels)),
      stack.use(await startScriptedEngine(answer, labels)),
    ];
    const running = stack.use(await startScriptedEngine(answer, labels, "127.0.0.2"));
    await using relay = await runSplitRelay([starting, running, decoder], { mooncakePort });
    const prefill = `${starting.address},${running.address}`;
    expect((await relay.open([decoder.address], { prefill })).status).toBe(200);
    expect([starting.legs.length, running.legs.length]).toEqual([0, 1]);
    expect(decoder.legs[0]!.text).toContain('"remote_engine_id":"e-2"');
  });

  it.for(["no JSON", "{}", undefined])("serves whole where it says %j", async (text) => {
    const port = text === undefined ? 1 : (await bootstrap(text)).port;
    const answer: Script = (response) => json(response);
    const made = await pods([answer], [answer], { mooncakePort: port }, labels);
    expect((await made.ask()).status).toBe(200);
    expect(made.prefillers[0]!.legs).toHaveLength(0);
    expect(await closedOf(made)).toMatchObject({
      stages: { connector: "mooncake", outcome: "unreachable", isDecodeOnly: true },
    });
  });
});

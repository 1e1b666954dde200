// Chats that are decoded in chunks, over real sockets.

import { afterEach, describe, expect, it, vi } from "vitest";
import {
  runSplitRelay,
  startScriptedEngine,
  type Script,
  type ScriptedEngine,
  type SplitRelay,
} from "../../support/split-relay.ts";

const WAIT = { timeout: 5_000 };
const WORDS = ["one ", "two ", "three"];
const BODY = '{"model":"m","messages":[{"role":"user","content":"count"}],"max_tokens":12}';
const STREAM = BODY.replace("{", '{"stream":true,');

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** The words one after another, a chunk each, and the last with a stop. */
const counts: Script = (response, { text }) => {
  const said = WORDS.filter((word) => text.includes(word)).length;
  const word = WORDS[said]!;
  const isLast = said === WORDS.length - 1;
  response.writeHead(200, { "content-type": "application/json", "x-engine": "e" }).end(
    JSON.stringify({
      id: `chunk-${said}`,
      object: "chat.completion",
      created: 1_700_000_000 + said,
      model: "m",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: word },
          finish_reason: isLast ? "stop" : "length",
        },
      ],
      usage: { prompt_tokens: 5 + said, completion_tokens: 4, total_tokens: 9 + said },
    }),
  );
};
/** Nothing but reasoning in four tokens, and an answer in more. */
const reasons: Script = (response, { text }) => {
  const isWhole = text.includes('"max_tokens":12');
  const message = isWhole
    ? { role: "assistant", content: "an answer" }
    : { role: "assistant", content: null, reasoning_content: "hmm" };
  const choice = { index: 0, finish_reason: isWhole ? "stop" : "length" };
  if (!text.includes('"stream":true')) {
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify({ id: "r", choices: [{ ...choice, message }] }));
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  const event = JSON.stringify({ id: "r", choices: [{ ...choice, delta: message }] });
  return response.end(`data: ${event}\n\ndata: [DONE]\n\n`);
};
const isContinued = ({ text }: { text: string }) => text.includes('"continue_final_message":true');

interface Pod {
  readonly relay: SplitRelay;
  readonly decoder: ScriptedEngine;
  readonly other: ScriptedEngine;
  ask(body?: string, prefill?: string, signal?: AbortSignal): Promise<Response>;
}

async function pods(decode: Script, prefill: Script = () => undefined): Promise<Pod> {
  const decoder = stack.use(await startScriptedEngine(decode));
  const other = stack.use(await startScriptedEngine(counts));
  const prefiller = stack.use(await startScriptedEngine(prefill));
  const relay = stack.use(
    await runSplitRelay([decoder, other, prefiller], { decodeChunkTokens: 4 }),
  );
  return {
    relay,
    decoder,
    other,
    ask: (body = BODY, stage = "", signal) =>
      relay.open(
        [decoder.address, other.address],
        { prefill: stage === "prefill" ? prefiller.address : "" },
        body,
        signal === undefined ? {} : { signal },
      ),
  };
}

async function closedOf({ relay }: Pod) {
  await vi.waitFor(() => expect(relay.closed()).toHaveLength(1), WAIT);
  return relay.closed()[0];
}

describe("a chat that is decoded in chunks", () => {
  it("is one answer", async () => {
    const made = await pods(counts);
    const answer = await made.ask();
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      id: "chunk-0",
      object: "chat.completion",
      created: 1_700_000_000,
      model: "m",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: WORDS.join("") },
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 5, completion_tokens: 12, total_tokens: 17 },
    });
    expect(made.decoder.legs.map((leg) => isContinued(leg))).toEqual([false, true, true]);
    const ids = made.decoder.legs.map(({ headers }) => headers["x-request-id"]);
    expect(new Set(ids).size).toBe(1);
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    expect(made.relay.closed()[0]).toMatchObject({
      outcome: "ok",
      endpoint: made.decoder.address,
      promptTokens: 5,
      completionTokens: 12,
      finishReason: "stop",
    });
  });

  it("is one stream, with usage for the ticket and not for the client", async () => {
    const made = await pods(counts);
    const answer = await made.ask(STREAM);
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    const events = (await answer.text()).split("\n\n").filter((event) => event !== "");
    expect(events.pop()).toBe("data: [DONE]");
    const chunks = events.map(
      (event) =>
        JSON.parse(event.slice("data: ".length)) as {
          id: string;
          usage?: unknown;
          choices: { delta: { content: string }; finish_reason: string | null }[];
        },
    );
    expect(chunks.map(({ choices }) => choices[0]!.delta.content)).toEqual(WORDS);
    expect(chunks.map(({ choices }) => choices[0]!.finish_reason)).toEqual([null, null, "stop"]);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks.filter(({ usage }) => usage !== undefined)).toEqual([]);
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    expect(made.relay.closed()[0]).toMatchObject({ outcome: "ok", completionTokens: 12 });
  });

  it.for([BODY, STREAM])("is decoded in one where the model reasons first: %s", async (body) => {
    const made = await pods(reasons, (response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"kv_transfer_params":{"a":1}}');
    });
    const answer = await made.ask(body, "prefill");
    const text = await answer.text();
    expect(text).toContain("an answer");
    expect(text).not.toContain("hmm");
    const [chunk, whole] = made.decoder.legs;
    expect(chunk!.text).toContain('"kv_transfer_params":{"a":1}');
    const added = '"stream_options":{"include_usage":true},';
    expect([whole!.text.replace(added, ""), made.decoder.legs.length]).toEqual([body, 2]);
    expect(await closedOf(made)).toMatchObject({ outcome: "ok", finishReason: "stop" });
  });

  it("gives the client the trouble of the whole request", async () => {
    const made = await pods((response, leg) => {
      if (leg.text === BODY) response.writeHead(500).end("trouble");
      else reasons(response, leg);
    });
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([500, "trouble"]);
  });

  it("is handed a prefill with its first chunk only", async () => {
    const made = await pods(counts, (response) =>
      response
        .writeHead(200, { "content-type": "application/json" })
        .end('{"kv_transfer_params":{"a":1},"usage":{"prompt_tokens":5}}'),
    );
    await (await made.ask(BODY, "prefill")).text();
    const legs = made.decoder.legs.map(({ text }) => text.includes("kv_transfer_params"));
    expect(legs).toEqual([true, false, false]);
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    expect(made.relay.closed()[0]).toMatchObject({ stages: { outcome: "ok" } });
  });

  it("goes to another decoder where the first chunk is refused", async () => {
    const made = await pods((response) => response.writeHead(503).end());
    expect((await (await made.ask()).json()) as unknown).toMatchObject({
      choices: [{ message: { content: WORDS.join("") } }],
    });
    expect(made.other.legs).toHaveLength(3);
  });

  it("gives a client that does not stream the trouble of a later chunk", async () => {
    const made = await pods((response, leg) => {
      if (isContinued(leg)) response.writeHead(400).end("too long");
      else counts(response, leg);
    });
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([400, "too long"]);
    expect(made.other.legs).toEqual([]);
  });

  it("ends a stream honestly where a later chunk fails", async () => {
    const made = await pods((response, leg) => {
      if (isContinued(leg)) response.socket!.resetAndDestroy();
      else counts(response, leg);
    });
    const text = await (await made.ask(STREAM)).text();
    expect(text).toContain(WORDS[0]);
    expect(text).toContain("engine_lost");
    expect(text).not.toContain("[DONE]");
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    expect(made.relay.closed()[0]).toMatchObject({ outcome: "broken-stream" });
  });

  it.for(["<html>", '{"choices":[]}'])("is refused where the answer is none: %s", async (text) => {
    const made = await pods((response) =>
      response.writeHead(200, { "content-type": "application/json" }).end(text),
    );
    expect((await made.ask()).status).toBe(502);
  });

  it("is not continued when the client leaves", async () => {
    const made = await pods((response, leg) => {
      if (!isContinued(leg)) counts(response, leg);
    });
    const leaving = new AbortController();
    const answer = await made.ask(STREAM, "", leaving.signal);
    await answer.body!.getReader().read();
    await vi.waitFor(() => expect(made.decoder.legs).toHaveLength(2), WAIT);
    leaving.abort();
    await vi.waitFor(() => expect(made.decoder.legs[1]!.isAborted).toBe(true), WAIT);
    expect([made.decoder.legs.length, made.other.legs.length]).toEqual([2, 0]);
  });

  it("is sent as it came where it cannot be continued", async () => {
    const made = await pods(counts);
    const body = BODY.replace("{", '{"tools":[{}],');
    await (await made.ask(body)).text();
    expect(made.decoder.legs.map(({ text }) => text)).toEqual([body]);
  });
});

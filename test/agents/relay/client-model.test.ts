// The client's name of a rewritten model in the answers of engines, over real sockets.

import type { ServerResponse } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeModelName } from "../../../src/agents/protocol/model-name.ts";
import {
  runRelay,
  startStubEngine,
  type RunningRelay,
  type StubEngine,
} from "../support/running-relay.ts";
import { sign, type SigningOverrides } from "../support/signing.ts";

const ENGINE_NAME = "org/llama-8b";
const CLIENT_NAME = "fast, and “cheap”";
const RENAMED = { clientModel: encodeModelName(CLIENT_NAME) };

/** A port that nobody listens on. */
const NOBODY = "127.0.0.1:1";

let engine: StubEngine;
let relay: RunningRelay;

beforeAll(async () => {
  engine = await startStubEngine();
  relay = await runRelay([engine.address, NOBODY]);
});
afterAll(async () => {
  await relay[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
});

/** An engine whose answer comes in these chunks. */
function chunks(type: string, parts: readonly Uint8Array[], status = 200) {
  return (response: ServerResponse) => {
    response.writeHead(status, { "content-type": type });
    for (const part of parts) response.write(part);
    response.end();
  };
}

async function ask(
  stream: boolean,
  overrides: SigningOverrides,
  destinations = engine.address,
): Promise<string> {
  const body = JSON.stringify({ model: ENGINE_NAME, messages: [], stream });
  const response = await fetch(`http://127.0.0.1:${relay.relay.port}/v1/chat/completions`, {
    method: "POST",
    headers: { ...sign(destinations, body, overrides), "content-type": "application/json" },
    body,
  });
  return response.text();
}

function chunk(content: string, rest: object = {}): string {
  const choices = [{ index: 0, delta: { content }, finish_reason: null }];
  return `data: ${JSON.stringify({ id: "c", model: ENGINE_NAME, choices, ...rest })}\n\n`;
}
const STREAM = Buffer.from(
  chunk(`"model":"${ENGINE_NAME}"`) +
    chunk("b", { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }) +
    "data: [DONE]\n\n",
);
const JSON_ANSWER = Buffer.from(
  `{"id":"c","model": "${ENGINE_NAME}","choices":[{"message":{"content":"org/llama-8b"},"finish_reason":"stop"}]}`,
);

function eventsOf(text: string): { model: string; choices: { delta: object }[] }[] {
  const payloads = text.split("\n\n").map((event) => event.replace("data: ", ""));
  return payloads
    .filter((payload) => payload !== "" && payload !== "[DONE]")
    .map((payload) => JSON.parse(payload) as ReturnType<typeof eventsOf>[number]);
}

describe("a stream", () => {
  it("names the client's model in every event, wherever the engine's bytes are cut", async () => {
    for (let cut = 1; cut < STREAM.byteLength; cut++) {
      engine.behaviour = chunks("text/event-stream", [
        STREAM.subarray(0, cut),
        STREAM.subarray(cut),
      ]);
      const events = eventsOf(await ask(true, RENAMED));
      expect(events.map((event) => event.model)).toEqual([CLIENT_NAME, CLIENT_NAME]);
      expect(events[0]!.choices[0]!.delta).toEqual({ content: `"model":"${ENGINE_NAME}"` });
    }
  });

  it("names it in a last event without its empty line", async () => {
    const [first, second] = STREAM.toString().split("\n\n");
    engine.behaviour = chunks("text/event-stream", [Buffer.from(`${first}\n\n${second}`)]);
    const events = eventsOf(await ask(true, RENAMED));
    expect(events.map((event) => event.model)).toEqual([CLIENT_NAME, CLIENT_NAME]);
  });

  it("is the engine's bytes where the model was not rewritten", async () => {
    engine.behaviour = chunks("text/event-stream", [STREAM]);
    expect(await ask(true, {})).toBe(STREAM.toString());
  });

  it("names it in an event too long to be held", async () => {
    const long = Buffer.from(chunk("x".repeat(1_100_000), { object: "chunk" }));
    engine.behaviour = chunks("text/event-stream", [long.subarray(0, 1_090_000), long, STREAM]);
    const text = await ask(true, RENAMED);
    expect(text).not.toContain(`"model":"${ENGINE_NAME}"`);
    expect(text.split(JSON.stringify(CLIENT_NAME))).toHaveLength(5);
  });
});

describe("an answer that is not a stream", () => {
  it("names the client's model, wherever the engine's bytes are cut", async () => {
    for (let cut = 1; cut < JSON_ANSWER.byteLength; cut++) {
      engine.behaviour = chunks("application/json", [
        JSON_ANSWER.subarray(0, cut),
        JSON_ANSWER.subarray(cut),
      ]);
      const answer = JSON.parse(await ask(false, RENAMED)) as Record<string, unknown>;
      expect(answer).toMatchObject({
        model: CLIENT_NAME,
        choices: [{ message: { content: "org/llama-8b" } }],
      });
    }
  });

  it.for([200, 400, 503])("names it with status %i, too", async (status) => {
    engine.behaviour = chunks("application/json", [JSON_ANSWER], status);
    expect(JSON.parse(await ask(false, RENAMED))).toMatchObject({ model: CLIENT_NAME });
  });

  it("names it in a refusal that was kept while another endpoint was tried", async () => {
    engine.behaviour = chunks("application/json", [JSON_ANSWER], 503);
    const answer = await ask(false, RENAMED, `${engine.address},${NOBODY}`);
    expect(JSON.parse(answer)).toMatchObject({ model: CLIENT_NAME });
  });

  it.for(['{"model": oops', '{"model": "oo', '{"mod'])("passes %j unchanged", async (text) => {
    engine.behaviour = chunks("application/json", [Buffer.from(text)]);
    expect(await ask(false, RENAMED)).toBe(text);
  });
});

describe("the name itself", () => {
  it("is believed only as it was signed", async () => {
    const body = JSON.stringify({ model: ENGINE_NAME, messages: [] });
    const send = async (headers: Record<string, string>) => {
      const url = `http://127.0.0.1:${relay.relay.port}/v1/chat/completions`;
      const response = await fetch(url, { method: "POST", headers, body });
      return response.headers.get("x-fairlead-relay-error");
    };
    const signed = sign(engine.address, body, RENAMED);
    expect(await send({ ...signed, "x-fairlead-client-model": "other" })).toBe("bad-signature");
    const { "x-fairlead-client-model": _, ...without } = signed;
    expect(await send(without)).toBe("bad-signature");
    expect(await send(sign(engine.address, body, { clientModel: "%" }))).toBe("unsigned");
    expect(await send(signed)).toBeNull();
  });
});

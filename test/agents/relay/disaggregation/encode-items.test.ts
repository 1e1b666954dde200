// Items that are encoded apart, over real sockets.

import { afterEach, describe, expect, it, vi } from "vitest";
import type { EncodeConnectorName } from "../../../../src/agents/relay/disaggregation/connectors/encode.ts";
import { ENCODES_AT_ONCE_MAX } from "../../../../src/agents/relay/disaggregation/encode-items.ts";
import {
  runSplitRelay,
  startScriptedEngine,
  type Script,
  type ScriptedEngine,
  type SplitRelay,
  type SplitRelayOptions,
} from "../../support/split-relay.ts";

const WAIT = { timeout: 5_000 };
const ANSWER = '{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}';
const item = (url: string) => `{"type":"image_url","image_url":{"url":"${url}"}}`;
const chat = (...urls: string[]) =>
  `{"model":"m","messages":[{"role":"user","content":[${urls.map((url) => item(url)).join(",")}]}]}`;
const BODY = chat("a", "b");

const json =
  (text: string, status = 200): Script =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(text);
/** Names the item by its URL, and an address past 2^53. */
const encodes: Script = (response, leg) => {
  const url = /"url":"([^"]*)"/.exec(leg.text)![1]!;
  const params = `{"hash-${url}":{"addr":18446744073709551615}}`;
  json(`{"choices":[],"ec_transfer_params":${params}}`)(response, leg);
};
const MERGED =
  '{"ec_transfer_params":{"hash-a":{"addr":18446744073709551615},"hash-b":{"addr":18446744073709551615}},' +
  `"cache_hit_threshold":0,${BODY.slice(1)}`;

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

interface Pod {
  readonly relay: SplitRelay;
  readonly encoders: ScriptedEngine[];
  readonly decoder: ScriptedEngine;
  ask(body?: string, prefill?: string, signal?: AbortSignal): Promise<Response>;
  encodes(outcome: string): number;
}

async function pods(
  scripts: readonly Script[],
  encodeConnector: EncodeConnectorName | undefined = "ec-nixl",
  options: SplitRelayOptions = {},
): Promise<Pod> {
  const encoders: ScriptedEngine[] = [];
  for (const script of scripts) encoders.push(stack.use(await startScriptedEngine(script)));
  const decoder = stack.use(await startScriptedEngine(json(ANSWER)));
  const relay = stack.use(
    await runSplitRelay([...encoders, decoder], {
      ...options,
      ...(encodeConnector === undefined ? {} : { encodeConnector }),
    }),
  );
  const encode = encoders.map(({ address }) => address).join(",");
  return {
    relay,
    encoders,
    decoder,
    ask: (body = BODY, prefill = "", signal) =>
      relay.open(
        [decoder.address],
        { encode, prefill },
        body,
        signal === undefined ? {} : { signal },
      ),
    encodes: (outcome) => relay.metric(`fairlead_relay_encodes_total{outcome="${outcome}"}`),
  };
}

describe("items that are encoded apart", () => {
  it("go round the encoders, and what those say goes to who reads the prompt", async () => {
    const made = await pods([encodes, encodes]);
    const answer = await made.ask();
    expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
    const legs = made.encoders.map((encoder) => encoder.legs[0]!);
    const one = (url: string) =>
      `{"stream":false,"max_tokens":1,"model":"m","messages":[{"role":"user","content":[${item(url)}]}]}`;
    expect(legs.map(({ text }) => text)).toEqual([one("a"), one("b")]);
    expect(legs.map(({ url }) => url)).toEqual(["/v1/chat/completions", "/v1/chat/completions"]);
    const ids = legs.map(({ headers }) => String(headers["x-request-id"]));
    expect(ids.map((id) => id.slice(-6))).toEqual(["-enc-0", "-enc-1"]);
    expect(new Set(ids.map((id) => id.slice(0, -6))).size).toBe(1);
    expect(made.decoder.legs.map(({ text }) => text)).toEqual([MERGED]);
    expect(made.encodes("ok")).toBe(1);
  });

  it("come before a prefill", async () => {
    const made = await pods([encodes]);
    const prefiller = stack.use(await startScriptedEngine(json('{"kv_transfer_params":{"a":1}}')));
    await using relay = await runSplitRelay([made.encoders[0]!, made.decoder, prefiller], {
      encodeConnector: "ec-nixl",
    });
    const stages = { encode: made.encoders[0]!.address, prefill: prefiller.address };
    await (await relay.open([made.decoder.address], stages, BODY)).text();
    for (const [leg] of [prefiller.legs, made.decoder.legs]) {
      expect(leg!.text).toContain('"ec_transfer_params":{"hash-a"');
    }
    expect(made.decoder.legs[0]!.text).toContain('"kv_transfer_params":{"a":1}');
    const id = String(made.decoder.legs[0]!.headers["x-request-id"]);
    expect(made.encoders[0]!.legs[0]!.headers["x-request-id"]).toMatch(new RegExp(`^${id}-enc-`));
  });

  it("leave the prefill to the prefiller of a shared storage, too", async () => {
    const labels = { "fairlead/kv-connector": "shared-storage" };
    const encoder = stack.use(await startScriptedEngine(encodes));
    const prefiller = stack.use(await startScriptedEngine(json(ANSWER), labels));
    const decoder = stack.use(await startScriptedEngine(json(ANSWER), labels));
    await using relay = await runSplitRelay([encoder, prefiller, decoder], {
      encodeConnector: "ec-example",
    });
    const stages = { encode: encoder.address, prefill: prefiller.address };
    await (await relay.open([decoder.address], stages, BODY)).text();
    expect([encoder, prefiller, decoder].map(({ legs }) => legs.length)).toEqual([2, 1, 1]);
  });

  it("only fill a cache where encoders share one", async () => {
    const made = await pods([encodes], "ec-example");
    await (await made.ask()).text();
    expect(made.encoders[0]!.legs).toHaveLength(2);
    expect(made.decoder.legs[0]!.text).toBe(`{"cache_hit_threshold":0,${BODY.slice(1)}`);
  });

  it("go to another encoder where one cannot be had", async () => {
    const made = await pods([json("busy", 503), encodes]);
    await (await made.ask()).text();
    expect(made.decoder.legs[0]!.text).toBe(MERGED);
  });

  it.for([
    { name: "refuse", scripts: [json("no", 400)], outcome: "failed" },
    { name: "are busy", scripts: [json("busy", 503)], outcome: "failed" },
    {
      name: "break off",
      scripts: [
        ((response) => {
          response.writeHead(200, { "content-type": "application/json" });
          response.write("{", () => response.socket!.resetAndDestroy());
        }) satisfies Script,
      ],
      outcome: "failed",
    },
    { name: "hang", scripts: [(() => undefined) satisfies Script], outcome: "failed" },
    {
      name: "disagree",
      scripts: [
        json('{"ec_transfer_params":{"h":{"addr":18446744073709551615}}}'),
        json('{"ec_transfer_params":{"h":{"addr":18446744073709551614}}}'),
      ],
      outcome: "conflict",
    },
  ])(
    "are left to who reads the prompt where encoders $name",
    async ({ name, scripts, outcome }) => {
      const made = await pods(scripts, "ec-nixl", {
        policy: { timeoutMs: name === "hang" ? 250 : 60_000 },
      });
      const answer = await made.ask();
      expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
      expect(made.decoder.legs.map(({ text }) => text)).toEqual([BODY]);
      expect(made.encodes(outcome)).toBe(1);
    },
  );

  it("are left to who reads the prompt where the relay has no room for them", async () => {
    const made = await pods([encodes], "ec-nixl", {
      limits: { heldBodyBytesMax: BODY.length + 10 },
    });
    await (await made.ask()).text();
    expect(made.encoders[0]!.legs).toEqual([]);
    expect(made.decoder.legs[0]!.text).toBe(BODY);
    expect(made.encodes("busy")).toBe(1);
  });

  it("take room for those that are under way at once, not for all", async () => {
    const urls = Array.from({ length: 4 * ENCODES_AT_ONCE_MAX }, (_, i) => `u${i}`);
    const tools = "x".repeat(512 * 1024);
    const body = `{"tools":"${tools}",${chat(...urls).slice(1)}`;
    const made = await pods([encodes], "ec-example", {
      limits: { heldBodyBytesMax: (ENCODES_AT_ONCE_MAX + 3) * tools.length },
    });
    await (await made.ask(body)).text();
    expect(made.encodes("ok")).toBe(1);
    const { legs } = made.encoders[0]!;
    expect(legs).toHaveLength(urls.length);
    expect(legs.every(({ text }) => text.includes(tools))).toBe(true);
  });

  it("are told when one fails, and when the client leaves", async () => {
    let fail: (() => void) | undefined;
    const made = await pods([
      (response, leg) => {
        if (leg.text.includes('"url":"a"')) fail = () => json("no", 400)(response, leg);
      },
    ]);
    const answer = made.ask();
    const { legs } = made.encoders[0]!;
    await vi.waitFor(() => expect(legs).toHaveLength(2), WAIT);
    fail!();
    expect((await answer).status).toBe(200);
    expect(legs.filter(({ isAborted }) => isAborted)).toHaveLength(1);

    const leaving = new AbortController();
    const left = made.ask(BODY, "", leaving.signal);
    await vi.waitFor(() => expect(legs).toHaveLength(4), WAIT);
    leaving.abort();
    await expect(left).rejects.toThrow(/abort/);
    await vi.waitFor(() => {
      expect(legs.slice(2).every(({ isAborted }) => isAborted)).toBe(true);
      expect(made.encodes("cancelled")).toBe(1);
    }, WAIT);
    expect(made.decoder.legs).toHaveLength(1);
  });

  it("are encoded so many at once, and the others after them", async () => {
    const waiting: (() => void)[] = [];
    const made = await pods([(response, leg) => waiting.push(() => encodes(response, leg))]);
    const urls = Array.from({ length: ENCODES_AT_ONCE_MAX + 1 }, (_, i) => `u${i}`);
    const answer = made.ask(chat(...urls));
    await vi.waitFor(() => expect(waiting).toHaveLength(ENCODES_AT_ONCE_MAX), WAIT);
    waiting.shift()!();
    await vi.waitFor(() => expect(waiting).toHaveLength(ENCODES_AT_ONCE_MAX), WAIT);
    for (const respond of waiting) respond();
    expect((await answer).status).toBe(200);
    expect(made.encoders[0]!.legs).toHaveLength(urls.length);
  });

  it("stay where they are without a connector for them", async () => {
    const encoder = stack.use(await startScriptedEngine(encodes));
    const decoder = stack.use(await startScriptedEngine(json(ANSWER)));
    await using relay = await runSplitRelay([encoder, decoder]);
    await (await relay.open([decoder.address], { encode: encoder.address }, BODY)).text();
    expect([encoder.legs.length, decoder.legs[0]!.text]).toEqual([0, BODY]);
  });
});

import { describe, expect, it } from "vitest";
import { findFreePort } from "../../../../src/cli/up/ports.ts";
import type { SimulatorParameters } from "../../../../src/agents/simulator/parameters.ts";
import { answerOf, ask, PROMPT, startPair, stateOf, untilState } from "./harness.ts";

const HOST = "127.0.0.1";

async function startRooms(more: Partial<SimulatorParameters> = {}) {
  const port = await findFreePort(HOST);
  const pair = await startPair(
    {
      role: "both",
      "disaggregation-mode": "prefill",
      "disaggregation-bootstrap-port": port,
      ...more,
    },
    { role: "both", "disaggregation-mode": "decode", ...more },
  );
  const room = (number: number) => ({
    bootstrap_host: HOST,
    bootstrap_port: port,
    bootstrap_room: number,
  });
  return { ...pair, port, room };
}

describe("SGLang's bootstrap rooms", () => {
  it("let both legs meet, whichever comes first", async () => {
    const { prefiller, decoder, room } = await startRooms();
    for (const [index, urls] of [
      [prefiller.url, decoder.url],
      [decoder.url, prefiller.url],
    ].entries()) {
      const legs = urls.map((url) => ask(url, { max_tokens: 20, ...room(7 + index) }));
      const answers = await Promise.all(legs.map(answerOf));
      const decoded = answers[urls.indexOf(decoder.url)]!;
      expect(PROMPT.startsWith(decoded.choices[0]!.message.content)).toBe(true);
    }
    expect(await stateOf(prefiller.url)).toMatchObject({ held: 0, heldReleased: 2 });
    expect(await stateOf(decoder.url)).toMatchObject({ transfersReceived: 2, blocksInUse: 0 });
  });

  it("fail the leg that waits in vain", async () => {
    const { prefiller, decoder, room } = await startRooms({
      "disaggregation-bootstrap-timeout": 5_000,
      "disaggregation-waiting-timeout": 5_000,
    });
    for (const { url } of [prefiller, decoder]) {
      const response = await ask(url, room(9));
      expect(response.status).toBe(500);
      expect((await answerOf(response)).error!.message).toContain("KVTransferError");
    }
    expect(await stateOf(prefiller.url)).toMatchObject({ blocksInUse: 0, held: 0 });
    expect(await stateOf(decoder.url)).toMatchObject({ blocksInUse: 0, transfersFailed: 1 });
  });

  it("are needed: an engine of one stage serves nothing alone", async () => {
    const { decoder } = await startRooms();
    const response = await ask(decoder.url);
    expect(response.status).toBe(400);
    expect((await answerOf(response)).error!.message).toContain("bootstrap room");
  });

  it("free what the prefiller computed only when its lease ends, if the decoder leaves", async () => {
    const { prefiller, decoder, room } = await startRooms({ "kv-lease-duration": 20_000 });
    const client = new AbortController();
    const leaving = ask(decoder.url, room(11), { signal: client.signal });
    leaving.catch(() => {});
    await untilState(decoder.url, ({ waiting }) => waiting === 1);
    const answer = ask(prefiller.url, room(11));
    client.abort();
    await answer;
    const state = await untilState(prefiller.url, ({ held }) => held === 0);
    expect(state.heldExpired + state.heldReleased).toBe(1);
    expect(state.blocksInUse).toBe(0);
  });

  it("have a layout to ask for", async () => {
    const { port } = await startRooms();
    const route = await fetch(`http://${HOST}:${port}/route?engine_rank=-1`);
    expect(await route.json()).toMatchObject({ dp_size: 1, page_size: 16 });
    expect((await fetch(`http://${HOST}:${port}/health`)).status).toBe(200);
  });
});

describe("Mooncake's transfers", () => {
  it("meet by an id, at the port that tells the engines", async () => {
    const port = await findFreePort(HOST);
    // A rank is a part of one engine, and each of these has one.
    const flags = { "disaggregation-bootstrap-port": port, engines: 2 };
    const { prefiller, decoder } = await startPair(flags);
    const ranks = await (await fetch(`http://${HOST}:${port}/query`)).json();
    expect(ranks).toEqual({ "0": { engine_id: expect.any(String) as string } });
    const transfer_id = "xfer-1";
    const prefill = { do_remote_decode: true, do_remote_prefill: false, transfer_id };
    const decode = {
      do_remote_prefill: true,
      do_remote_decode: false,
      transfer_id,
      remote_bootstrap_addr: `http://${HOST}:${port}`,
      remote_engine_id: (ranks as Record<string, { engine_id: string }>)["0"]!.engine_id,
    };
    const [answer] = await Promise.all([
      answerOf(ask(decoder.url, { kv_transfer_params: decode })),
      answerOf(ask(prefiller.url, { max_tokens: 1, kv_transfer_params: prefill })),
    ]);
    expect(answer.choices[0]!.message.content).toBe(PROMPT);
    expect(await stateOf(decoder.url)).toMatchObject({ transfersReceived: 1 });
    expect(await stateOf(prefiller.url)).toMatchObject({ held: 0, heldReleased: 1 });
  });
});

describe("offloaded prompts", () => {
  it("are read under the key that both legs have", async () => {
    const port = await findFreePort(HOST);
    const { prefiller, decoder } = await startPair({ "side-channel-port": port });
    const kv_request_id = "k-1";
    const place = { kv_request_id, remote_host: HOST, remote_port: port };
    const prefill = { remote_decoder: { kv_request_id } };
    await answerOf(ask(prefiller.url, { max_tokens: 1, kv_transfer_params: prefill }));
    const decode = { remote_prefiller: place };
    await answerOf(ask(decoder.url, { kv_transfer_params: decode }));
    expect(await stateOf(decoder.url)).toMatchObject({ transfersReceived: 1 });
    expect(await stateOf(prefiller.url)).toMatchObject({ held: 0, heldReleased: 1 });
  });
});

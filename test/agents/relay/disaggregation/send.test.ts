// What happens before a decoder is asked, over real sockets: who is told of it, and how long it may take.

import { afterEach, expect, it, vi } from "vitest";
import {
  CHAT,
  runSplitRelay,
  startScriptedEngine,
  type Script,
} from "../../support/split-relay.ts";

const WAIT = { timeout: 10_000 };
const ITEM = '{"type":"image_url","image_url":{"url":"a"}}';
const BODY = `{"model":"m","messages":[{"role":"user","content":[${ITEM}]}]}`;
const json =
  (text: string): Script =>
  (response) =>
    response.writeHead(200, { "content-type": "application/json" }).end(text);
const hang: Script = () => undefined;

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

async function pods(encode: Script, timeoutMs: number) {
  const encoder = stack.use(await startScriptedEngine(encode));
  const prefiller = stack.use(await startScriptedEngine(json('{"kv_transfer_params":{"a":1}}')));
  const decoder = stack.use(await startScriptedEngine(json('{"choices":[]}')));
  const relay = stack.use(
    await runSplitRelay([encoder, prefiller, decoder], {
      encodeConnector: "ec-nixl",
      policy: { timeoutMs },
    }),
  );
  const stages = { encode: encoder.address, prefill: prefiller.address };
  return { encoder, prefiller, decoder, relay, stages };
}

it.for(["with a prefill", "without one"])(
  "says that it has the request while that is encoded, %s",
  async (name) => {
    let encoded: (() => void) | undefined;
    const made = await pods((...leg) => {
      encoded = () => json('{"choices":[],"ec_transfer_params":{}}')(...leg);
    }, 60_000);
    const { encode, prefill } = made.stages;
    const stages = name === "with a prefill" ? { encode, prefill } : { encode };
    const asked = made.relay.open([made.decoder.address], stages, BODY);
    await vi.waitFor(() => expect(made.relay.object.tickets).toHaveLength(1), WAIT);
    expect(made.relay.object.tickets[0]).toMatchObject({
      kind: "opened",
      endpoint: made.decoder.address,
    });
    await vi.waitFor(() => expect(encoded).toBeDefined(), WAIT);
    encoded!();
    expect((await asked).status).toBe(200);
    await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
    const opened = made.relay.object.tickets.filter(({ kind }) => kind === "opened");
    expect(opened).toHaveLength(1);
  },
);

it("encodes and prefills within one time", async () => {
  const made = await pods(hang, 300);
  const answer = await made.relay.open([made.decoder.address], made.stages, BODY);
  expect(answer.status).toBe(200);
  expect(made.prefiller.legs).toEqual([]);
  expect(made.decoder.legs.map(({ text }) => text)).toEqual([BODY]);
  await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
  expect(made.relay.closed()[0]).toMatchObject({
    stages: { prefill: made.prefiller.address, outcome: "timeout", isDecodeOnly: true },
  });
  // It is not held against who was not asked.
  expect(made.relay.lines.filter(({ msg }) => msg === "endpoint marked")).toEqual([]);
});

it("leaves a prefill what the one before has not taken", async () => {
  const timeoutMs = 2_000;
  const made = await pods(hang, timeoutMs);
  const slow: Script = (response) => setTimeout(() => response.writeHead(503).end(), 1_500);
  made.prefiller.script = slow;
  made.encoder.script = hang;
  const prefill = `${made.prefiller.address},${made.encoder.address}`;
  const answer = await made.relay.open([made.decoder.address], { prefill }, CHAT);
  expect(answer.status).toBe(200);
  await vi.waitFor(() => expect(made.relay.closed()).toHaveLength(1), WAIT);
  const [first, second] = made.relay.prefilled();
  expect(first).toMatchObject({ outcome: "unavailable", isLast: false });
  expect(second).toMatchObject({ outcome: "timeout", isLast: true });
  expect(second!.durationMs).toBeLessThan(timeoutMs - 500);
});

// Which answers have begun, as the pool's object is told: by a relay over real sockets.

import type { ServerResponse } from "node:http";
import { setTimeout } from "node:timers/promises";
import { afterEach, expect, it, vi } from "vitest";
import { decodeHeader, FRAME, framePayload } from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import {
  type Configure,
  fromObjectSchema,
  startedSchema,
} from "../../../src/agents/protocol/messages.ts";
import { GATHER_MS, StartedReports } from "../../../src/agents/relay/started-reports.ts";
import recorded1 from "../../fixtures/protocol-v1.json" with { type: "json" };
import recorded2 from "../../fixtures/protocol-v2.json" with { type: "json" };
import { runRelay, startStubEngine, type RunningRelay } from "../support/running-relay.ts";
import { sign } from "../support/signing.ts";

const BEGUN = 'fairlead_relay_evictions_total{outcome="begun"}';
const WAIT = { timeout: 15_000 };
const BODY = JSON.stringify({ model: "m", stream: true, messages: [] });
const CONFIGURE: Configure = { t: "configure", scrapeIntervalMs: 200, metrics: [] };
const WANTED: Configure = { ...CONFIGURE, reportsFirstByte: true };
const FIRST = 'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n';

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** A relay, and an engine whose streams begin when they are told to. */
async function startRelayAndEngine(configure: Configure | undefined) {
  const streams: ServerResponse[] = [];
  const engine = stack.use(
    await startStubEngine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      streams.push(response);
    }),
  );
  const running = stack.use(await runRelay([engine.address]));
  // Before the relay is closed, which would wait for them.
  stack.defer(() => {
    for (const stream of streams) stream.end();
  });
  running.object.configure = configure;
  await reconnect(running);
  const open = (ticket: string) =>
    running.open([engine.address], BODY, sign(engine.address, BODY, { ticket }));
  return { running, object: running.object, streams, open };
}

async function reconnect({ object, relay }: RunningRelay): Promise<void> {
  await vi.waitFor(() => expect(relay.isConnected).toBe(true), WAIT);
  const { length } = object.hellos;
  object.socket!.terminate();
  await vi.waitFor(() => expect(object.hellos.length).toBeGreaterThan(length), WAIT);
  await vi.waitFor(() => expect(relay.isConnected).toBe(true), WAIT);
}

const told = (ticket: string) => ({ ticket, attempt: 0 });

it("an answer is told when it begins, and not before", async () => {
  const { object, streams, open } = await startRelayAndEngine(WANTED);
  const answers = [open("t-1"), open("t-2")];
  await vi.waitFor(() => expect(streams).toHaveLength(2), WAIT);
  await vi.waitFor(() => expect(object.tickets).toHaveLength(2), WAIT);
  expect(object.started).toEqual([]);
  for (const stream of streams) stream.write(FIRST);
  await Promise.all(answers);
  await vi.waitFor(() => expect(object.started).toHaveLength(2), WAIT);
  expect(new Set(object.started.map(({ ticket }) => ticket))).toEqual(new Set(["t-1", "t-2"]));
});

it.for([
  ["that does not want to know", CONFIGURE],
  ["that has not said so yet", undefined],
  ["of version 1", fromObjectSchema.parse(JSON.parse(recorded1.object.configure)) as Configure],
  ["of before", fromObjectSchema.parse(JSON.parse(recorded2.object.configure)) as Configure],
] as const)("an object %s is told nothing, not even where an evict is late", async ([, said]) => {
  const { running, object, streams, open } = await startRelayAndEngine(said);
  const answer = open("t-1");
  await vi.waitFor(() => expect(streams).toHaveLength(1), WAIT);
  streams[0]!.write(FIRST);
  const response = await answer;
  object.send({ t: "evict", ...told("t-1"), retryAfterMs: 0 });
  await vi.waitFor(() => expect(running.metric(BEGUN)).toBe(1), WAIT);
  await setTimeout(3 * GATHER_MS);
  streams[0]!.end("data: [DONE]\n\n");
  await response.text();
  await vi.waitFor(() => expect(object.tickets).toHaveLength(2), WAIT);
  expect(object.frames.map(({ kind }) => kind)).not.toContain("started");
});

it("an object that comes to want it is told of all that have begun, and an evict is answered", async () => {
  const { running, object, streams, open } = await startRelayAndEngine(undefined);
  let begunCount = 0;
  for (const ticket of ["t-1", "t-2", "t-3"]) void open(ticket).then(() => (begunCount += 1));
  await vi.waitFor(() => expect(streams).toHaveLength(3), WAIT);
  streams[0]!.write(FIRST);
  streams[1]!.write(FIRST);
  await vi.waitFor(() => expect(begunCount).toBe(2), WAIT);
  expect(object.started).toEqual([]);
  object.send(WANTED);
  await vi.waitFor(() => expect(object.started).toHaveLength(2), WAIT);
  object.send({ t: "evict", ...object.started[1]!, retryAfterMs: 0 });
  await vi.waitFor(() => expect(object.started).toHaveLength(3), WAIT);
  expect(object.started[2]).toEqual(object.started[1]);
  // Another object at the other end is told once it has said so, too.
  object.configure = undefined;
  await reconnect(running);
  object.send({ t: "evict", ...object.started[1]!, retryAfterMs: 0 });
  await vi.waitFor(() => expect(running.metric(BEGUN)).toBe(2), WAIT);
  await setTimeout(3 * GATHER_MS);
  expect(object.started).toHaveLength(3);
  object.send(WANTED);
  await vi.waitFor(() => expect(object.started).toHaveLength(5), WAIT);
});

it("what ends before it was told is left out", async () => {
  const { object, streams, open } = await startRelayAndEngine(WANTED);
  const answer = open("t-1");
  const other = open("t-2");
  await vi.waitFor(() => expect(streams).toHaveLength(2), WAIT);
  streams[0]!.end(`${FIRST}data: [DONE]\n\n`);
  await Promise.race([answer, other]).then((response) => response.text());
  streams[1]!.write(FIRST);
  await Promise.all([answer, other]);
  await vi.waitFor(() => expect(object.started.length).toBeGreaterThan(0), WAIT);
  expect(object.started).toHaveLength(1);
});

it("frames hold as many as they may, and one that cannot be sent is not kept", async () => {
  const frames: Uint8Array[] = [];
  let isUp = true;
  const reports = new StartedReports();
  reports.attach({
    send(encode) {
      if (isUp) frames.push(encode({ version: 2, seq: frames.length + 1 }));
      return isUp;
    },
  });
  const max = PROTOCOL_LIMITS.startedTicketsMax;
  const begun = Array.from({ length: max + 1 }, (_, i) => told(`${"t".repeat(120)}${i}`));
  reports.configure(true, begun);
  await vi.waitFor(() => expect(frames).toHaveLength(2), WAIT);
  const tickets = frames.map((frame) => {
    expect(decodeHeader(frame)).toMatchObject({ ok: true, value: { type: FRAME.started } });
    return startedSchema.parse(JSON.parse(Buffer.from(framePayload(frame)).toString())).tickets;
  });
  expect(tickets.map(({ length }) => length)).toEqual([max, 1]);
  expect(tickets.flat()).toEqual(begun);
  isUp = false;
  reports.configure(true, [told("lost")]);
  await setTimeout(3 * GATHER_MS);
  isUp = true;
  reports.add(told("t-1"));
  await vi.waitFor(() => expect(frames).toHaveLength(3), WAIT);
  expect(Buffer.from(framePayload(frames[2]!)).toString()).not.toContain("lost");
  reports.close();
});

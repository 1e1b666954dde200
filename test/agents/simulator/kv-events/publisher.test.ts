import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { Dealer } from "zeromq";
import { createLogger } from "../../../../src/agents/process/logger.ts";
import {
  KvEventPublisher,
  type PublisherOptions,
} from "../../../../src/agents/simulator/kv-events/publisher.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { eventually } from "../harness.ts";
import { replay, replayed, subscribe } from "./zmq-client.ts";

const ANY_PORT = "tcp://127.0.0.1:*";
const TOPIC = "kv@10.0.0.7:8000@m";
const EMPTY = Buffer.alloc(0);
const END = Buffer.alloc(8, 0xff);

async function open(options: Partial<PublisherOptions> = {}) {
  const publisher = await KvEventPublisher.open(
    {
      endpoint: ANY_PORT,
      isBound: true,
      replayEndpoint: ANY_PORT,
      topic: TOPIC,
      firstSequence: 0,
      replayHasTopic: true,
      historyMax: 100,
      highWaterMark: 1_000,
      queueMax: 1_000,
      lossRate: 0,
      repeatRate: 0,
      ...options,
    },
    createLogger({ role: "simulator", level: "error" }),
    createRng(1),
  );
  onTestFinished(() => publisher.close());
  return publisher;
}

const payload = (text: string) => Buffer.from(text);
const numbers = (messages: { sequence: number }[]) => messages.map(({ sequence }) => sequence);

/** A publisher and one subscriber that is connected for certain; gives the next number. */
async function connected(options: Partial<PublisherOptions> = {}) {
  const publisher = await open(options);
  const { messages } = await subscribe(publisher.endpoint);
  await eventually(async () => {
    publisher.publish(payload("probe"));
    await Promise.resolve();
    expect(messages.length).toBeGreaterThan(0);
  });
  await eventually(async () => {
    await Promise.resolve();
    expect(messages.at(-1)!.sequence).toBe(publisher.nextSequence - 1);
  });
  messages.length = 0;
  return { publisher, messages, next: publisher.nextSequence };
}

describe("live", () => {
  it("numbers batches from the first number on, and sends topic, number and payload", async () => {
    const { publisher, messages, next } = await connected();
    publisher.publish(payload("a"));
    publisher.publish(payload("b"));
    await eventually(async () => expect(await Promise.resolve(messages)).toHaveLength(2));
    expect(messages).toEqual([
      { topic: TOPIC, sequence: next, payload: payload("a") },
      { topic: TOPIC, sequence: next + 1, payload: payload("b") },
    ]);
    expect(numbers(await replayed(publisher.replayEndpoint!, 0)).at(0)).toBe(0);
  });

  it("dials a subscriber that is bound", async () => {
    const { messages, endpoint } = await subscribe();
    const publisher = await open({ endpoint, isBound: false, firstSequence: 1 });
    await eventually(async () => {
      publisher.publish(payload("a"));
      expect(await Promise.resolve(messages.length)).toBeGreaterThan(0);
    });
    // The first ones may be lost while it dials, so no number is certain.
    expect(messages[0]!.sequence).toBeGreaterThanOrEqual(1);
  });

  it("refuses an address that is taken", async () => {
    const publisher = await open();
    await expect(open({ endpoint: ANY_PORT, replayEndpoint: publisher.endpoint })).rejects.toThrow(
      /in use/,
    );
  });

  it("lets no more batches wait than it may, and has those for replay", async () => {
    const publisher = await open({ queueMax: 2 });
    for (let i = 0; i < 6; i++) publisher.publish(payload("a"));
    // One is being sent, two wait.
    expect(publisher.counts).toMatchObject({ published: 6, lost: 3 });
    expect(numbers(await replayed(publisher.replayEndpoint!, 0))).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe("replay", () => {
  it("gives batches with their topic, and an end of four frames, as vLLM 0.26 does", async () => {
    const publisher = await open({ firstSequence: 257 });
    publisher.publish(payload("a"));
    publisher.publish(payload("b"));
    expect(await replay(publisher.replayEndpoint!, 258)).toEqual([
      [EMPTY, payload(TOPIC), Buffer.from("0000000000000102", "hex"), payload("b")],
      [EMPTY, EMPTY, END, EMPTY],
    ]);
  });

  it("gives batches bare, and an end of three frames, as older engines do", async () => {
    const publisher = await open({ replayHasTopic: false });
    publisher.publish(payload("a"));
    expect(await replay(publisher.replayEndpoint!, 0)).toEqual([
      [EMPTY, Buffer.alloc(8), payload("a")],
      [EMPTY, END, EMPTY],
    ]);
  });

  it("begins with the oldest batch it has kept, without saying so", async () => {
    const publisher = await open({ historyMax: 2 });
    for (let i = 0; i < 5; i++) publisher.publish(payload("a"));
    expect(numbers(await replayed(publisher.replayEndpoint!, 0))).toEqual([3, 4]);
    expect(await replayed(publisher.replayEndpoint!, 9)).toEqual([]);
  });

  it("makes no holes for a client that reads late, while another is idle", async () => {
    // More than the sockets of both sides and the system hold.
    const count = 2_000;
    const large = Buffer.alloc(16_384);
    const publisher = await open({ historyMax: count });
    for (let i = 0; i < count; i++) publisher.publish(large);
    const idle = new Dealer({ linger: 0 });
    onTestFinished(() => idle.close());
    idle.connect(publisher.replayEndpoint!);
    await idle.send([EMPTY, Buffer.alloc(8, 0xfe)]);
    await idle.receive();
    const socket = new Dealer({ linger: 0, receiveHighWaterMark: 1, receiveTimeout: 4_000 });
    onTestFinished(() => socket.close());
    socket.connect(publisher.replayEndpoint!);
    await socket.send([EMPTY, Buffer.alloc(8)]);
    await sleep(100);
    for (let i = 0; i < count; i++) {
      const [, , sequence] = await socket.receive();
      expect(sequence!.readBigUInt64BE()).toBe(BigInt(i));
    }
    expect(await socket.receive()).toEqual([EMPTY, EMPTY, END, EMPTY]);
  });

  it("gives up a client that does not read, and answers the next one", async () => {
    const large = Buffer.alloc(65_536);
    const publisher = await open({ historyMax: 2_000, queueMax: 1 });
    for (let i = 0; i < 2_000; i++) publisher.publish(large);
    const socket = new Dealer({ linger: 0, receiveHighWaterMark: 1 });
    onTestFinished(() => socket.close());
    socket.connect(publisher.replayEndpoint!);
    await socket.send([EMPTY, Buffer.alloc(8)]);
    expect(await replayed(publisher.replayEndpoint!, 1_999)).toHaveLength(1);
    expect(publisher.replaysServed).toBe(1);
  });

  it("ignores what is not a request, and answers the next one", async () => {
    const publisher = await open();
    publisher.publish(payload("a"));
    const socket = new Dealer({ linger: 0 });
    onTestFinished(() => socket.close());
    socket.connect(publisher.replayEndpoint!);
    await socket.send([payload("x"), Buffer.alloc(8)]);
    await socket.send([EMPTY, Buffer.alloc(3)]);
    await socket.send([EMPTY, Buffer.alloc(8), EMPTY]);
    expect(await replayed(publisher.replayEndpoint!, 0)).toHaveLength(1);
    expect(publisher.replaysServed).toBe(1);
  });
});

describe("on purpose", () => {
  it("loses batches that replay has, leaves numbers out that it has not, sends some twice", async () => {
    const { publisher, messages, next } = await connected();
    const publish = (count: number) => {
      for (let i = 0; i < count; i++) publisher.publish(payload("a"));
    };
    publisher.lose(2);
    publish(3);
    publisher.skip(5);
    publisher.repeat(1);
    publish(2);
    const arrived = [next + 2, next + 8, next + 8, next + 9];
    await eventually(async () => expect(await Promise.resolve(numbers(messages))).toEqual(arrived));
    expect(numbers(await replayed(publisher.replayEndpoint!, next))).toEqual([
      next,
      next + 1,
      next + 2,
      next + 8,
      next + 9,
    ]);
    expect(publisher.counts).toMatchObject({ lost: 2, skipped: 5, repeated: 1 });
  });

  it("loses and repeats a share of the batches", async () => {
    const publisher = await open({ lossRate: 0.25, repeatRate: 0.5, queueMax: 2_000 });
    for (let i = 0; i < 1_000; i++) publisher.publish(payload("a"));
    const { lost, repeated } = publisher.counts;
    expect(lost).toBeGreaterThan(150);
    expect(lost).toBeLessThan(350);
    expect(repeated).toBeGreaterThan(250);
    expect(repeated).toBeLessThan(500);
  });

  it("begins anew at the same addresses, without what was before", async () => {
    const { publisher, messages } = await connected();
    const { endpoint, replayEndpoint } = publisher;
    await publisher.restart();
    expect([publisher.endpoint, publisher.replayEndpoint]).toEqual([endpoint, replayEndpoint]);
    expect(publisher.nextSequence).toBe(0);
    publisher.publish(payload("a"));
    expect(numbers(await replayed(replayEndpoint!, 0))).toEqual([0]);
    // The subscriber comes back by itself.
    await eventually(async () => {
      publisher.publish(payload("b"));
      expect(await Promise.resolve(messages.length)).toBeGreaterThan(0);
    });
    expect(publisher.counts.restarts).toBe(1);
  });
});

import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Publisher } from "zeromq";
import { BATCH_BYTES_MAX } from "../../../../src/agents/collector/kv-events/decode-batch.ts";
import {
  KvEvents,
  type KvEventsMode,
  type KvEventsOptions,
} from "../../../../src/agents/collector/kv-events/kv-events.ts";
import type { SubscriberTiming } from "../../../../src/agents/collector/kv-events/kv-subscriber.ts";
import type { EndpointRecord } from "../../../../src/agents/protocol/messages.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { captureLogs } from "../../support/logs.ts";
import { Link } from "./support/link.ts";
import { packBatch } from "./support/batches.ts";
import { sequence, TestPublisher, type PublisherOptions } from "./support/publisher.ts";
import { RecordingConsumer } from "./support/recording-consumer.ts";

const TIMING = {
  reconnectMs: 10,
  reconnectMsMax: 50,
  deadLinkMs: 50,
  heartbeatMs: 1_000,
  quietMs: 100_000,
  cooldownMs: 200,
  cooldownMsMax: 400,
};
const LIMITS = { totalMsMax: 5_000, idleMsMax: 200, retryMs: 5, fruitlessMax: 2 };
const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 8_000, interval: 5 });

const open: { close(): void }[] = [];
afterEach(() => {
  for (const part of open.splice(0)) part.close();
});

async function publisher(options: PublisherOptions = {}): Promise<TestPublisher> {
  const started = await TestPublisher.start(options);
  open.push(started);
  return started;
}

async function follow(
  mode: KvEventsMode,
  endpoints: EndpointRecord[],
  timing: Partial<SubscriberTiming> = {},
) {
  const consumer = new RecordingConsumer();
  const registry = new MetricRegistry();
  const logs = captureLogs();
  const options: KvEventsOptions = {
    mode,
    consumer,
    registry,
    logger: logs.logger,
    timing: { ...TIMING, ...timing },
    catchUpLimits: LIMITS,
  };
  const events = await KvEvents.start(options);
  open.unshift(events);
  events.follow(endpoints);
  return { events, consumer, registry, logs };
}

const CONNECT: KvEventsMode = {
  type: "connect",
  ports: { events: 5_557, replay: 0, serving: 0 },
  storageUrls: [],
};

const BIND: KvEventsMode = { type: "bind", url: "tcp://127.0.0.1:*" };

/** An endpoint that says in labels where it publishes. */
function endpointOf(id: string, publishers: TestPublisher[], hasReplay = true): EndpointRecord {
  const join = (urls: string[]) => urls.join(",");
  const labels = { "fairlead/kv-events-url": join(publishers.map((p) => p.eventsUrl)) };
  const replay = { "fairlead/kv-replay-url": join(publishers.map((p) => p.replayUrl)) };
  return {
    id,
    address: "127.0.0.1:8000",
    engine: "vllm",
    labels: hasReplay ? { ...labels, ...replay } : labels,
  };
}

const hex = (hash: number) => hash.toString(16).padStart(16, "0");
const store = (...hashes: number[]) => storeAt(Math.random(), ...hashes);
const storeAt = (madeAtS: number, ...hashes: number[]) =>
  packBatch([["BlockStored", hashes, null, hashes, 1, null, "GPU", null]], 0, madeAtS);
const remove = (...hashes: number[]) =>
  packBatch([["BlockRemoved", hashes, "GPU"]], 0, Math.random());
const line = (registry: MetricRegistry, start: string) =>
  registry
    .render()
    .split("\n")
    .find((text) => text.startsWith(start));

/** Waits until what the publisher says is heard. */
const heard = (publisher: TestPublisher, times = 1) =>
  waitFor(() => expect(publisher.subscriptions).toBe(times));

/** Follows one endpoint that offers replays, and waits until its first one has ended. */
async function followOne(started: TestPublisher) {
  const followed = await follow(CONNECT, [endpointOf("e", [started])]);
  await waitFor(() =>
    expect(line(followed.registry, "fairlead_kv_event_replays_total")).toMatch(/complete"} 1/),
  );
  await heard(started);
  return followed;
}

/** Follows one endpoint without replays, and waits until its messages arrive. */
async function followLive(started: TestPublisher) {
  const followed = await follow(CONNECT, [endpointOf("e", [started], false)]);
  await heard(started);
  return followed;
}

describe("a publisher that keeps what it said", () => {
  it.for(["new", "old"] as const)("is heard from its beginning, framing %s", async (framing) => {
    const history = [store(1, 2), remove(1)];
    const engine = await publisher({ framing, topic: "kv@x@the-model", history });
    const { consumer, registry } = await followOne(engine);
    expect(consumer.held("e")).toEqual([hex(2)]);
    expect(line(registry, "fairlead_kv_events_whole")).toBe(
      'fairlead_kv_events_whole{endpoint="e"} 1',
    );
    await engine.publish(store(3));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(2), hex(3)]));
    await engine.publish(store(4), "lost");
    await engine.publish(store(5));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(4));
    // A replay in the old framing has no topic: it is known once something came live.
    expect(consumer.models.slice(1)).toEqual(Array.from({ length: 3 }, () => "the-model"));
    expect(consumer.models[0]).toBe(framing === "new" ? "the-model" : "");
  });

  it("may begin at 1", async () => {
    const engine = await publisher({ firstSeq: 1 });
    await engine.publish(store(1), "lost");
    const { consumer, registry } = await followOne(engine);
    expect(consumer.calls).toEqual([`e/0 stored ${hex(1)}`]);
    expect(line(registry, "fairlead_kv_events_whole")).toMatch(/ 1$/);
  });

  it("is asked for what was lost, and each batch is applied once", async () => {
    const engine = await publisher();
    const { consumer, registry } = await followOne(engine);
    await engine.publish(store(1));
    await engine.publish(store(2), "lost");
    await engine.publish(remove(1), "lost");
    await engine.publish(store(4));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(2), hex(4)]));
    expect(consumer.calls).toEqual(
      [1, 2, 1, 4].map((hash, i) => `e/0 ${i === 2 ? "removed" : "stored"} ${hex(hash)}`),
    );
    // The last applied one again, to see that it is the same publisher.
    expect(engine.asked).toEqual([0, 0]);
    expect(line(registry, "fairlead_kv_event_breaks_total")).toMatch(/kind="gap"} 1$/);
  });

  it("is asked after a silence whether its last word was heard", async () => {
    const engine = await publisher();
    const { consumer } = await follow(CONNECT, [endpointOf("e", [engine])], { quietMs: 30 });
    await heard(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1)]));
    await engine.publish(store(2), "lost");
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1), hex(2)]));
    const asked = engine.asked.length;
    await waitFor(() => expect(engine.asked.length).toBeGreaterThan(asked));
    expect(consumer.calls).toHaveLength(2);
  });

  it("is distrusted where it keeps too little, and heard from there on", async () => {
    const engine = await publisher({ keepMax: 2 });
    const { consumer, registry } = await followOne(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1)]));
    for (const hash of [2, 3, 4]) await engine.publish(store(hash), "lost");
    await engine.publish(store(5));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(4), hex(5)]));
    expect(consumer.calls).toContain("e/0 uncertain history-lost");
    expect(line(registry, "fairlead_kv_events_whole")).toMatch(/ 0$/);
    // An empty cache is known whole.
    await engine.publish(packBatch([["AllBlocksCleared"]]));
    await waitFor(() => expect(line(registry, "fairlead_kv_events_whole")).toMatch(/ 1$/));
  });

  it.for([
    { says: "less than", batches: 1 },
    { says: "as much as", batches: 2 },
    { says: "more than", batches: 3 },
  ])("that began anew and said $says before is noticed", async ({ batches }) => {
    const first = await publisher();
    const { consumer } = await followOne(first);
    for (const hash of [1, 2]) await first.publish(store(hash));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(2));
    const { ports } = first;
    first.close();
    const history = Array.from({ length: batches }, (_, i) => store(10 + i));
    const second = await publisher({ ...ports, history });
    const expected = Array.from({ length: batches }, (_, i) => hex(10 + i));
    await waitFor(() => expect(consumer.held("e")).toEqual(expected));
    await heard(second);
    await second.publish(store(99));
    await waitFor(() => expect(consumer.held("e")).toEqual([...expected, hex(99)]));
    expect(consumer.calls.filter((call) => call.includes("begun anew"))).toEqual([
      "e/0 begun anew",
    ]);
    expect(consumer.calls.filter((call) => call.includes("uncertain"))).toEqual([]);
  });

  it("is asked again where its engine is a new process by another sign", async () => {
    const engine = await publisher();
    const { events, consumer } = await followOne(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(1));
    events.engineRestarted("another", 100);
    events.engineRestarted("e", 100);
    await waitFor(() => expect(engine.asked).toEqual([0, 0]));
    expect(consumer.calls).toHaveLength(1);
  });

  it("that died knows nothing any more once its engine is another process", async () => {
    const first = await publisher();
    const { events, consumer } = await followOne(first);
    await first.publish(store(1));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(1));
    const { ports } = first;
    first.close();
    await waitFor(() => expect(events.whole().get("e")).toBe(false));
    // Until then it may be the link alone that is lost.
    expect(consumer.held("e")).toHaveLength(1);
    events.engineRestarted("e", 100);
    expect(consumer.held("e")).toEqual([]);
    await publisher({ ...ports, history: [store(7), store(8)] });
    await waitFor(() => expect(events.whole().get("e")).toBe(true));
    expect(consumer.held("e")).toEqual([hex(7), hex(8)]);
    expect(consumer.calls.filter((call) => call.includes("uncertain"))).toEqual([]);
  });

  it("that does not answer is distrusted at once, and asked for everything later", async () => {
    const engine = await publisher();
    const { consumer, registry } = await followOne(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(1));
    engine.isAnswering = false;
    await engine.publish(store(2), "lost");
    await engine.publish(store(3));
    // What it says from then on is taken meanwhile.
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(3)]));
    expect(consumer.calls).toContain("e/0 uncertain gap");
    expect(line(registry, "fairlead_kv_events_whole")).toMatch(/ 0$/);
    engine.isAnswering = true;
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1), hex(2), hex(3)]));
    expect(line(registry, "fairlead_kv_events_whole")).toMatch(/ 1$/);
  });

  it("that never answers is distrusted once, however often it is asked", async () => {
    const engine = await publisher();
    engine.isAnswering = false;
    const { consumer } = await follow(CONNECT, [endpointOf("e", [engine])]);
    await waitFor(() => expect(consumer.calls).toEqual(["e/0 uncertain gap"]));
    await heard(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1)]));
    const asked = engine.asked.length;
    await waitFor(() => expect(engine.asked.length).toBeGreaterThan(asked + 3));
    await engine.publish(store(2));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1), hex(2)]));
    expect(consumer.calls.filter((call) => call.includes("uncertain"))).toHaveLength(1);
  });

  it("that answers nonsense is as one that does not", async () => {
    const engine = await publisher({ framing: "broken" });
    await engine.publish(store(1), "lost");
    const { consumer } = await follow(CONNECT, [endpointOf("e", [engine])]);
    await waitFor(() => expect(consumer.calls).toContain("e/0 uncertain gap"));
    await heard(engine);
    await engine.publish(store(2));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(2)]));
  });

  it("that left out numbers in what it keeps is distrusted up to there", async () => {
    const history = [store(1), null, null, remove(1), store(2)];
    const engine = await publisher({ history });
    const { consumer, registry } = await followOne(engine);
    expect(consumer.calls).toContain("e/0 uncertain history-lost");
    expect(consumer.held("e")).toEqual([hex(2)]);
    expect(line(registry, "fairlead_kv_events_whole")).toMatch(/ 0$/);
    await engine.publish(store(3));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(2), hex(3)]));
  });
});

describe("a link to a publisher", () => {
  /** Through a link, and whole. */
  async function followThrough(hasReplay: boolean) {
    const engine = await publisher();
    const link = await Link.start(engine.ports.port);
    open.unshift(link);
    const endpoint = endpointOf("e", [engine], hasReplay);
    const labels = { ...endpoint.labels, "fairlead/kv-events-url": link.url };
    const followed = await follow(CONNECT, [{ ...endpoint, labels }], { heartbeatMs: 40 });
    await heard(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(followed.consumer.held("e")).toEqual([hex(1)]));
    const isWhole = () => followed.events.whole().get("e");
    await waitFor(() => expect(isWhole()).toBe(true));
    return { ...followed, engine, link, isWhole };
  }

  it("that goes dead without a word is noticed: what is known is as of then", async () => {
    const { consumer, engine, link, isWhole } = await followThrough(true);
    link.freeze();
    await waitFor(() => expect(isWhole()).toBe(false));
    expect(consumer.held("e")).toEqual([hex(1)]);
    await engine.publish(store(2), "lost");
    link.thaw();
    await waitFor(() => expect(isWhole()).toBe(true));
    expect(consumer.held("e")).toEqual([hex(1), hex(2)]);
    expect(consumer.calls).toHaveLength(2);
  });

  it("that is new says nothing of what was missed, until the next batch continues what is known", async () => {
    const { consumer, engine, link, isWhole } = await followThrough(false);
    link.cut();
    await waitFor(() => expect(isWhole()).toBe(false));
    await heard(engine, 2);
    expect(isWhole()).toBe(false);
    await engine.publish(store(2));
    await waitFor(() => expect(isWhole()).toBe(true));
    expect(consumer.held("e")).toEqual([hex(1), hex(2)]);
  });
});

describe("a publisher that keeps nothing", () => {
  it("is heard live, in order, each batch once", async () => {
    const engine = await publisher();
    const { consumer, registry } = await followLive(engine);
    for (const hash of [1, 2]) await engine.publish(store(hash));
    const last = store(3);
    await engine.publish(last);
    await engine.sendRaw([Buffer.from(""), sequence(2), last]);
    await engine.publish(store(4));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(4));
    expect(consumer.calls.filter((call) => call.endsWith(hex(3)))).toHaveLength(1);
    expect(line(registry, "fairlead_kv_events_whole")).toMatch(/ 1$/);
    expect(engine.asked).toEqual([]);
  });

  it("is distrusted after a gap, and what it says from then on is known", async () => {
    const engine = await publisher();
    const { consumer, registry } = await followLive(engine);
    await engine.publish(store(1));
    await engine.publish(store(2), "lost");
    await engine.publish(store(3));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(3)]));
    expect(consumer.calls).toEqual([
      `e/0 stored ${hex(1)}`,
      "e/0 uncertain gap",
      `e/0 stored ${hex(3)}`,
    ]);
    expect(line(registry, "fairlead_kv_events_uncertain_total")).toMatch(/reason="gap"} 1$/);
  });

  it("that said one thing, began anew and said another has emptied its cache", async () => {
    const engine = await publisher();
    const { consumer } = await followLive(engine);
    await engine.publish(store(1));
    await engine.sendRaw([Buffer.from(""), sequence(0), store(7)]);
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(7)]));
    expect(consumer.calls).toEqual([
      `e/0 stored ${hex(1)}`,
      "e/0 begun anew",
      `e/0 stored ${hex(7)}`,
    ]);
  });

  it("is void where its engine is a new process that has said nothing yet", async () => {
    const engine = await publisher();
    const { events, consumer } = await followLive(engine);
    await engine.publish(storeAt(99.5, 1));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1)]));
    events.engineRestarted("e", 100);
    expect(consumer.held("e")).toEqual([]);
    expect(events.whole().get("e")).toBe(false);
    await engine.sendRaw([Buffer.from(""), sequence(0), storeAt(101.5, 2)]);
    await waitFor(() => expect(events.whole().get("e")).toBe(true));
    // What it has said already is its own.
    events.engineRestarted("e", 100);
    expect(consumer.held("e")).toEqual([hex(2)]);
    expect(consumer.calls).not.toContain("e/0 uncertain gap");
  });

  it("is distrusted where a new process went on with the numbers of the one before", async () => {
    const engine = await publisher();
    const { events, consumer } = await followLive(engine);
    await engine.publish(storeAt(99.5, 1));
    await engine.publish(storeAt(101.5, 2));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(2));
    events.engineRestarted("e", 100);
    expect(consumer.held("e")).toEqual([]);
    expect(consumer.calls).toContain("e/0 uncertain gap");
    await engine.publish(storeAt(102.5, 3));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(3)]));
    expect(events.whole().get("e")).toBe(false);
  });

  it("is whole again once it has stored as much as its cache has room for", async () => {
    const engine = await publisher();
    const { events, consumer } = await followLive(engine);
    await engine.publish(store(1), "lost");
    await engine.publish(store(2, 3));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(2));
    const isWhole = (blocks: number | undefined) => {
      events.endDoubts((id) => (id === "e" ? blocks : 1));
      return events.whole().get("e");
    };
    expect([isWhole(undefined), isWhole(3)]).toEqual([false, false]);
    await engine.publish(
      packBatch([["BlockStored", [4, 5], null, [4, 5], 1, null, "CPU", null]], 0),
    );
    await waitFor(() => expect(consumer.held("e", "cpu")).toHaveLength(2));
    expect(isWhole(3)).toBe(false);
    await engine.publish(store(6));
    await waitFor(() => expect(consumer.held("e")).toHaveLength(3));
    expect(isWhole(3)).toBe(true);
    // Doubted anew, it begins to count anew.
    await engine.publish(store(7), "lost");
    await engine.publish(store(8));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(8)]));
    expect([isWhole(3), isWhole(1)]).toEqual([false, true]);
  });

  it("that begins anew empties what is known", async () => {
    const engine = await publisher();
    const { consumer } = await followLive(engine);
    for (const hash of [1, 2]) await engine.publish(store(hash));
    await engine.sendRaw([Buffer.from(""), sequence(0), store(7)]);
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(7)]));
    expect(consumer.calls).not.toContain("e/0 uncertain gap");
    expect(consumer.calls).toContain("e/0 begun anew");
  });

  it("says what cannot be read, and is heard on", async () => {
    const engine = await publisher();
    const { consumer, registry } = await followLive(engine);
    await engine.publish(store(1));
    await engine.publish(Buffer.from("nonsense"));
    await engine.publish(
      packBatch([
        ["BlockStored", [2], null, [2], 1, null],
        ["BlockStored", "x"],
      ]),
    );
    await engine.publish(packBatch([["Later"], ["BlockStored", [3], null, [3], 1, null]]));
    await engine.sendRaw([Buffer.from("topic"), sequence(4)]);
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(3)]));
    await waitFor(() =>
      expect(line(registry, "llm_d_epp_kv_cache_events_messages_received_total")).toMatch(/ 5$/),
    );
    expect(consumer.calls.filter((call) => call.endsWith("uncertain malformed"))).toHaveLength(2);
    for (const reason of ["undecodable", "malformed", "unknown", "frames"]) {
      expect(
        line(registry, `fairlead_kv_events_skipped_total{endpoint="e",reason="${reason}"}`),
      ).toMatch(/ 1$/);
    }
  });

  it("is connected to anew after a message above the bound, where ZeroMQ gives up", async () => {
    const engine = await publisher();
    const { consumer, registry } = await followLive(engine);
    await engine.publish(store(1));
    await engine.publish(Buffer.alloc(BATCH_BYTES_MAX + 1));
    await waitFor(() => {
      expect(line(registry, "llm_d_epp_kv_cache_events_subscriber_reconnections_total")).toMatch(
        / 1$/,
      );
    });
    await heard(engine, 2);
    await engine.publish(store(3));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(3)]));
    expect(consumer.calls).toContain("e/0 uncertain gap");
  });

  it("that speaks no ZMTP does no harm", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const engine = await publisher();
    const odd: EndpointRecord = {
      ...endpointOf("odd", []),
      labels: { "fairlead/kv-events-url": `tcp://127.0.0.1:${port}` },
    };
    const { consumer } = await follow(CONNECT, [odd, endpointOf("e", [engine], false)]);
    await heard(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(consumer.held("e")).toEqual([hex(1)]));
  });
});

describe("endpoints", () => {
  it("have a source for each rank", async () => {
    const ranks = [await publisher(), await publisher()];
    const { consumer } = await follow(CONNECT, [endpointOf("e", ranks)]);
    for (const rank of ranks) await heard(rank);
    // The batch's own rank does not matter: the socket says which it is.
    await ranks[0]!.publish(store(1));
    await ranks[1]!.publish(store(2));
    await waitFor(() =>
      expect([...consumer.calls].sort()).toEqual([`e/0 stored ${hex(1)}`, `e/1 stored ${hex(2)}`]),
    );
  });

  it("come and go, and are begun anew where their publisher is elsewhere", async () => {
    const [a, b, c] = [await publisher(), await publisher(), await publisher()];
    for (const [engine, hash] of [
      [a, 1],
      [b, 2],
      [c, 3],
    ] as const)
      await engine.publish(store(hash), "lost");
    const { events, consumer } = await follow(CONNECT, [
      endpointOf("a", [a]),
      endpointOf("b", [b]),
    ]);
    await waitFor(() => expect(consumer.calls).toHaveLength(2));
    events.follow([endpointOf("b", [b])]);
    expect(consumer.calls.at(-1)).toBe("a/0 gone");
    await a.publish(store(9));
    events.follow([endpointOf("b", [c])]);
    await waitFor(() =>
      expect(consumer.calls.slice(2)).toEqual(["a/0 gone", "b/0 gone", `b/0 stored ${hex(3)}`]),
    );
    expect(consumer.held("b")).toEqual([hex(3)]);
    events.close();
    expect(consumer.calls.at(-1)).toBe("b/0 gone");
  });

  it("that cannot be told apart are not followed, and this is said once", async () => {
    const engine = await publisher();
    const both = [endpointOf("a", [engine]), endpointOf("b", [engine])];
    const { events, consumer, logs } = await follow(CONNECT, both);
    events.follow(both);
    expect(
      logs.lines.filter((text) => JSON.stringify(text).includes("events of a and events of b")),
    ).toHaveLength(1);
    expect(consumer.calls).toEqual([]);
  });

  it("share a storage tier, which is a source of its own", async () => {
    const storage = await publisher({ topic: "kv@SHARED_STORAGE@m", firstSeq: 1 });
    const mode: KvEventsMode = { ...CONNECT, storageUrls: [storage.eventsUrl] };
    const { consumer } = await follow(mode, []);
    await heard(storage);
    await storage.publish(packBatch([packBatch([])]), "lost");
    await storage.publish(packBatch([["BlockStored", [5], 0, [], 0, null, "SHARED_STORAGE"]]));
    await waitFor(() => expect(consumer.held(null, "storage")).toEqual([hex(5)]));
  });
});

describe("publishers that dial", () => {
  const endpoint = (id: string, port: number): EndpointRecord => ({
    id,
    address: `10.0.0.7:${port}`,
    engine: "vllm",
    labels: {},
  });

  function dial(url: string) {
    const socket = new Publisher({ linger: 0 });
    open.push(socket);
    socket.connect(url);
    let seq = 0;
    return (topic: string, payload: Uint8Array, at = seq++) =>
      socket.send([topic, sequence(at), payload]);
  }

  it("are told apart by topic and rank", async () => {
    const { events, consumer, registry } = await follow(BIND, [
      endpoint("ns/a", 8_000),
      endpoint("ns/b", 8_001),
    ]);
    const send = dial(events.boundUrl!);
    const stored = (hash: number, rank: number | null) =>
      packBatch([["BlockStored", [hash], null, [hash], 1, null, "GPU", null]], rank);
    // Whatever is sent before the subscription has reached the publisher is lost.
    await waitFor(async () => {
      await send("kv@other@m", stored(0, 0), 0);
      expect(line(registry, "fairlead_kv_events_foreign_total")).toBeDefined();
    });
    await send("kv@10.0.0.7:8000@m", stored(1, 0), 0);
    await send("kv@10.0.0.7:8000@m", stored(2, 1), 0);
    await send("kv@ns/b@m", stored(3, null), 0);
    await send("kv@b@m", stored(4, 0), 1);
    await send("unfiltered", stored(5, 0), 1);
    await send(
      "kv@SHARED_STORAGE@m",
      packBatch([["BlockStored", [6], 0, [], 0, null, "SHARED_STORAGE"]]),
      0,
    );
    await waitFor(() => expect(consumer.held(null, "storage")).toEqual([hex(6)]));
    expect(consumer.calls.slice(0, 4)).toEqual([
      `ns/a/0 stored ${hex(1)}`,
      `ns/a/1 stored ${hex(2)}`,
      `ns/b/0 stored ${hex(3)}`,
      `ns/b/0 stored ${hex(4)}`,
    ]);
    await send("kv@10.0.0.7:8000@m", stored(7, 0), 5);
    await waitFor(() => expect(consumer.calls).toContain("ns/a/0 uncertain gap"));
    expect(line(registry, 'fairlead_kv_events_whole{endpoint="ns/a"}')).toMatch(/ 0$/);
    expect(line(registry, 'fairlead_kv_events_whole{endpoint="ns/b"}')).toMatch(/ 1$/);
    events.follow([endpoint("ns/b", 8_001)]);
    expect(consumer.calls.slice(-2)).toEqual(["ns/a/0 gone", "ns/a/1 gone"]);
  });

  const stored = (hash: number, madeAtS = 1.5) => storeAt(madeAtS, hash);

  /** Follows endpoints, and waits until what is sent arrives. */
  async function followDialled(endpoints: EndpointRecord[]) {
    const followed = await follow(BIND, endpoints);
    const send = dial(followed.events.boundUrl!);
    await waitFor(async () => {
      await send("kv@other@m", stored(0), 0);
      expect(line(followed.registry, "fairlead_kv_events_foreign_total")).toBeDefined();
    });
    return { ...followed, send };
  }

  it("with a name that two endpoints have are heard by address and id, and this is said", async () => {
    const both = [endpoint("one/a", 8_000), endpoint("two/a", 8_001)];
    const { events, consumer, logs, send } = await followDialled([both[1]!]);
    await send("kv@a@m", stored(1), 0);
    await waitFor(() => expect(consumer.held("two/a")).toEqual([hex(1)]));
    expect(logs.lines).toEqual([]);
    events.follow(both);
    // Heard by a name that is nobody's now.
    expect(consumer.calls.at(-1)).toBe("two/a/0 gone");
    await send("kv@a@m", stored(2), 1);
    await send("kv@10.0.0.7:8001@m", stored(3), 0);
    await send("kv@one/a@m", stored(4), 0);
    await waitFor(() => expect(consumer.held("one/a")).toEqual([hex(4)]));
    expect(consumer.held("two/a")).toEqual([hex(3)]);
    expect(JSON.stringify(logs.lines)).toContain("a may be one/a and two/a");
  });

  it("are numbered by endpoint, and told of where they are too many", async () => {
    const { consumer, logs, send } = await followDialled([endpoint("ns/a", 8_000)]);
    const say = (rank: number) => send("kv@ns/a@m", packBatch([["AllBlocksCleared"]], rank), 0);
    // As ranks are numbered that go on behind those of another endpoint.
    for (let rank = 20; rank < 34; rank++) await say(rank);
    await waitFor(() => expect(consumer.calls).toHaveLength(14));
    expect(consumer.calls.at(-1)).toBe("ns/a/13 cleared");
    expect(logs.lines).toEqual([]);
    await say(34);
    await waitFor(() => expect(consumer.calls).toHaveLength(15));
    expect(JSON.stringify(logs.lines)).toContain("too many ranks");
  });

  it("know nothing any more once their engine is another process", async () => {
    const { events, consumer, send } = await followDialled([endpoint("ns/a", 8_000)]);
    await send("kv@ns/a@m", stored(1, 99.5), 0);
    await waitFor(() => expect(events.whole().get("ns/a")).toBe(true));
    events.engineRestarted("another", 100);
    expect(consumer.held("ns/a")).toEqual([hex(1)]);
    events.engineRestarted("ns/a", 100);
    expect(consumer.held("ns/a")).toEqual([]);
    expect(events.whole().get("ns/a")).toBe(false);
    await send("kv@ns/a@m", stored(2, 101.5), 0);
    await waitFor(() => expect(consumer.held("ns/a")).toEqual([hex(2)]));
    expect(events.whole().get("ns/a")).toBe(true);
  });

  const whole = (events: KvEvents, id: string) => events.whole().get(id);
  /** A publisher that has dialled and is heard; with a replay where a label says so. */
  async function followDialler(hasReplay: boolean, options: PublisherOptions = {}) {
    const followed = await follow(BIND, []);
    const engine = await publisher({
      topic: "kv@ns/a@m",
      dials: followed.events.boundUrl!,
      ...options,
    });
    const labels = hasReplay ? { "fairlead/kv-replay-url": engine.replayUrl } : {};
    followed.events.follow([{ ...endpoint("ns/a", 8_000), labels }]);
    await heard(engine);
    return { ...followed, engine };
  }

  it("are not known whole from a lost link on until they are heard to go on", async () => {
    const { events, engine, consumer } = await followDialler(false);
    await engine.publish(store(1));
    await waitFor(() => expect(whole(events, "ns/a")).toBe(true));
    engine.hangUp();
    await waitFor(() => expect(whole(events, "ns/a")).toBe(false));
    expect(consumer.held("ns/a")).toEqual([hex(1)]);
    engine.dial();
    await heard(engine, 2);
    expect(whole(events, "ns/a")).toBe(false);
    await engine.publish(store(2));
    await waitFor(() => expect(whole(events, "ns/a")).toBe(true));
    expect(consumer.calls).not.toContain("ns/a/0 uncertain gap");
  });

  it("are found gone when they do not answer any more", async () => {
    const { events } = await follow(BIND, [], { heartbeatMs: 50 });
    const link = await Link.start(Number(events.boundUrl!.split(":").at(-1)));
    open.push(link);
    const engine = await publisher({ topic: "kv@ns/a@m", dials: link.url });
    events.follow([endpoint("ns/a", 8_000)]);
    await heard(engine);
    await engine.publish(store(1));
    await waitFor(() => expect(whole(events, "ns/a")).toBe(true));
    link.freeze();
    await waitFor(() => expect(whole(events, "ns/a")).toBe(false));
  });

  it.for(["new", "old"] as const)(
    "are asked for what was missed where a label says at which address (%s framing)",
    async (framing) => {
      const history = [store(1), store(2)];
      const { events, engine, consumer } = await followDialler(true, { history, framing });
      await engine.publish(store(3));
      await waitFor(() => expect(whole(events, "ns/a")).toBe(true));
      expect(consumer.held("ns/a")).toEqual([1, 2, 3].map(hex));
      await engine.publish(store(4), "lost");
      await engine.publish(store(5));
      await waitFor(() => expect(consumer.held("ns/a")).toEqual([1, 2, 3, 4, 5].map(hex)));
      expect(whole(events, "ns/a")).toBe(true);
      expect(consumer.calls).not.toContain("ns/a/0 uncertain gap");
    },
  );

  it("lose nothing of what they say while they are asked", async () => {
    const { events, engine, consumer, registry } = await followDialler(true, {
      history: [store(1)],
    });
    const messages = () =>
      line(registry, "llm_d_epp_kv_cache_events_messages_received_total") ?? "";
    engine.beforeAnswer = async () => {
      engine.beforeAnswer = async () => undefined;
      await engine.publish(store(3), "lost");
      await engine.publish(store(4));
      await waitFor(() => expect(messages()).toMatch(/ 2$/));
    };
    await engine.publish(store(2));
    await waitFor(() => expect(consumer.held("ns/a")).toEqual([1, 2, 3, 4].map(hex)));
    await waitFor(() => expect(whole(events, "ns/a")).toBe(true));
    expect(engine.asked).toEqual([0, 1]);
  });

  it("go on unwhole where the replay does not answer, and are asked again", async () => {
    const { events, engine, consumer } = await followDialler(true, { history: [store(1)] });
    engine.isAnswering = false;
    await engine.publish(store(2));
    await waitFor(() => expect(consumer.held("ns/a")).toEqual([hex(2)]));
    expect(whole(events, "ns/a")).toBe(false);
    engine.isAnswering = true;
    await waitFor(() => expect(whole(events, "ns/a")).toBe(true));
    expect(consumer.held("ns/a")).toEqual([1, 2].map(hex));
  });

  it("cannot be awaited on an address that is taken", async () => {
    const { events } = await follow(BIND, []);
    await expect(follow({ type: "bind", url: events.boundUrl! }, [])).rejects.toThrow("in use");
  });
});

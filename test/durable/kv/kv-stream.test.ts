// Collectors that stream content keys over real sockets, and where requests go by them.

import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { KvStream } from "../../../src/agents/collector/kv-stream/kv-stream.ts";
import { encodeFrame, FRAME } from "../../../src/agents/protocol/codec.ts";
import { encodeKv, type KvSection } from "../../../src/agents/protocol/kv-frames.ts";
import type { KvMessage } from "../../../src/agents/protocol/messages.ts";
import type { Knowledge } from "../../../src/durable/state.ts";
import { KV_FEED_LIMITS } from "../../../src/durable/kv/kv-feeds.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
} from "../../../src/scheduler/kv/residency/holding.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { closedOf, localCommit, sync } from "../edge/support.ts";
import {
  configurePool,
  contentKeys,
  endpoint,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  TestWorker,
  until,
} from "../pool-client.ts";

const ENDPOINTS = 4;
const BLOCKS = 20;
const PROMPTS = [3, 4, 5, 6];
/** Prefixes decide, as the engines' events tell them. */
const PRECISE = {
  plugins: [
    { type: "precise-prefix-cache-producer", parameters: { speculativeIndexing: true } },
    {
      type: "prefix-cache-scorer",
      parameters: { prefixMatchInfoProducerName: "precise-prefix-cache-producer" },
    },
    { type: "max-score-picker" },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [{ pluginRef: "prefix-cache-scorer" }, { pluginRef: "max-score-picker" }],
    },
  ],
};

afterEach(() => reset());

/** A collector that knows what the engines hold, with its KvStream on a real socket. */
class TestCollector {
  readonly agent: TestAgent;
  readonly stream: KvStream;
  isWhole = true;
  #read = 0;

  constructor(agent: TestAgent) {
    this.agent = agent;
    const endpoints = Array.from({ length: ENDPOINTS }, (_, i) => endpoint(i + 1));
    const sources = endpoints.map(({ id }) => ({ endpoint: id, rank: 0 }));
    this.stream = new KvStream({
      send: (encode) => {
        agent.frame((place) => new Uint8Array(encode(place)));
        return true;
      },
      sourceAt: (slot) => sources[slot],
      whole: () => new Map(endpoints.map(({ id }) => [id, this.isWhole])),
      registry: new MetricRegistry(),
    });
    this.stream.follow(endpoints);
  }

  /** Says hello and the endpoints, and what it knows of each: prompt i is held by endpoint i. */
  static async start(name: string): Promise<TestCollector> {
    const agent = await TestAgent.greeted({ agent: name, epoch: name });
    const collector = new TestCollector(agent);
    PROMPTS.forEach((prompt, at) => collector.hold(at, contentKeys(prompt, BLOCKS), HELD_ON_GPU));
    return collector;
  }

  hold(at: number, keys: Uint32Array, holding: Holding): void {
    for (let i = 0; i < keys.length; i += 2) this.stream.held(at, keys[i]!, keys[i + 1]!, holding);
  }

  /** Answers what has come since the last time; a welcome begins everything anew. */
  turn(): void {
    this.agent.messages.slice(this.#read).forEach((message) => {
      if (message.t === "welcome") this.stream.connected();
      if (message.t === "configure") {
        this.agent.membership(Array.from({ length: ENDPOINTS }, (_, i) => endpoint(i + 1)));
        this.stream.configured(message.kvWindowBytes);
        this.stream.listed();
      }
      if (isKv(message)) this.stream.received(message);
    });
    this.#read = this.agent.messages.length;
    this.stream.flush();
  }
}

const isKv = (message: { t: string }): message is KvMessage => message.t.startsWith("kv-");

/** Lets collectors answer until every endpoint is known so. */
function known(knowledge: Knowledge, ...collectors: TestCollector[]): Promise<boolean> {
  return until(async () => {
    for (const collector of collectors) collector.turn();
    const { endpoints } = await poolStub().state();
    return (
      endpoints.length === ENDPOINTS && endpoints.every((each) => each.knowledge === knowledge)
    );
  });
}

async function pick(requestId: string, keys: Uint32Array): Promise<string> {
  using worker = new TestWorker();
  const result = await worker.pick(pickRequest(requestId, { keys }));
  if (!result.ok) throw new Error(`${result.reason}: ${result.detail}`);
  await worker.release("relay-unreachable");
  return result.endpoints[0]!;
}

/** Whether every prompt goes where it is held. */
async function goHome(round: string): Promise<boolean> {
  const homes: boolean[] = [];
  for (const [at, prompt] of PROMPTS.entries()) {
    const address = await pick(`${round}-${prompt}`, contentKeys(prompt, BLOCKS));
    homes.push(address === endpoint(at + 1).address);
  }
  return homes.every(Boolean);
}

async function poolWith(...names: string[]): Promise<TestCollector[]> {
  await configurePool(1, 200, PRECISE);
  const collectors: TestCollector[] = [];
  for (const name of names) collectors.push(await TestCollector.start(name));
  return collectors;
}

/** The object ends where it stands, and its sockets with it. */
async function kill(): Promise<void> {
  const { objectEpoch } = await poolStub().state();
  await runInDurableObject(poolStub(), (_object, ctx) => ctx.abort("killed")).catch(
    () => undefined,
  );
  await until(async () => (await poolStub().state()).objectEpoch !== objectEpoch);
}

function section(given: Partial<KvSection>): KvSection {
  return {
    stream: 0,
    seq: 0,
    begins: true,
    completes: true,
    keys: new Uint32Array(),
    onGpuCount: 0,
    belowCount: 0,
    ...given,
  };
}

describe("a pool whose collectors stream what engines hold", { timeout: 30_000 }, () => {
  it("sends prompts where engines say they are, and shows how it knows", async () => {
    const collectors = await poolWith("c0");
    await known("exact", ...collectors);
    expect(await goHome("first")).toBe(true);
    const { endpoints, residency } = await poolStub().state();
    expect(endpoints.map(({ knownBlocks }) => knownBlocks)).toEqual([20, 20, 20, 20]);
    expect(residency).toMatchObject({ blocks: 80, pairs: 80, shed: 0 });
    const metrics = await env.POOLS.metrics("eu-1");
    expect(metrics).toContain('fairlead_kv_known_endpoints{name="eu-1",knowledge="exact"} 4');
    expect(metrics).toContain('fairlead_kv_index_pairs{name="eu-1"} 80');
  });

  it("follows what engines evict, and weighs what is held below GPUs", async () => {
    const [collector] = await poolWith("c0");
    await known("exact", collector!);
    const keys = contentKeys(PROMPTS[0]!, BLOCKS);
    collector!.hold(0, keys, HELD_BELOW);
    collector!.hold(1, keys.subarray(0, 34), HELD_ON_GPU);
    collector!.turn();
    // 20 × 0.8 below 17 × 1.
    const isMoved = async () => (await pick(crypto.randomUUID(), keys)) === endpoint(2).address;
    expect(await until(isMoved)).toBe(true);
  });

  it("takes endpoints from a collector that says nothing, though its socket is open", async () => {
    const [silent, heard] = (await poolWith("c0", "c1")) as [TestCollector, TestCollector];
    await known("exact", silent, heard);
    vi.useFakeTimers({ now: Date.now() + 2 * KV_FEED_LIMITS.silentMs, toFake: ["Date"] });
    try {
      heard.agent.metrics([]);
      await known("exact", heard);
    } finally {
      vi.useRealTimers();
    }
    const told = heard.agent.messages.flatMap((each) => (each.t === "kv-send" ? each.streams : []));
    expect(new Set(told.map(({ endpoint: id }) => id)).size).toBe(ENDPOINTS);
    const stopped = silent.agent.messages.filter(({ t }) => t === "kv-stop");
    expect(stopped.length).toBeGreaterThan(0);
  });

  it("hears each endpoint from one collector, and from the next at once when that one dies", async () => {
    const collectors = await poolWith("c0", "c1");
    await known("exact", ...collectors);
    const streamsOf = ({ agent }: TestCollector) =>
      agent.messages.flatMap((each) => (each.t === "kv-send" ? each.streams : []));
    const [first, second] = collectors as [TestCollector, TestCollector];
    expect(streamsOf(first).length + streamsOf(second).length).toBe(ENDPOINTS);
    first.agent.close();
    // Not told anew yet: what was known goes on answering.
    await known("partial").catch(() => undefined);
    expect(await goHome("between")).toBe(true);
    await known("exact", second);
    expect(new Set(streamsOf(second).map(({ endpoint: id }) => id)).size).toBe(ENDPOINTS);
    expect(await goHome("after")).toBe(true);
  });

  it("prefers a collector that knows all, and says so where none does", async () => {
    const collectors = await poolWith("c0");
    collectors[0]!.isWhole = false;
    await known("partial", ...collectors);
    expect(await goHome("partial")).toBe(true);
    collectors.push(await TestCollector.start("c1"));
    await known("exact", ...collectors);
    await until(() => collectors[0]!.agent.messages.some(({ t }) => t === "kv-stop"));
  });

  it("asks for everything again after it lost its memory, of collectors it never parted from", async () => {
    const collectors = await poolWith("c0");
    await known("exact", ...collectors);
    const { objectEpoch } = await poolStub().state();
    await evictDurableObject(poolStub());
    expect((await poolStub().state()).objectEpoch).not.toBe(objectEpoch);
    await known("exact", ...collectors);
    expect(await goHome("restarted")).toBe(true);
  });

  it("survives collectors and object that die in any order", async () => {
    let collectors = await poolWith("c0", "c1");
    for (let round = 0; round < 3; round++) {
      await known("exact", ...collectors);
      expect(await goHome(`round-${round}`)).toBe(true);
      collectors[0]!.agent.close();
      if (round === 1) await kill();
      const survivor = round === 1 ? await TestCollector.start("c1") : collectors[1]!;
      collectors = [survivor, await TestCollector.start(`again-${round}`)];
    }
    await known("exact", ...collectors);
    expect(await goHome("last")).toBe(true);
  });

  it("counts a prompt as cached where it was just sent, until its time is over", async () => {
    const [collector] = await poolWith("c0");
    await known("exact", collector!);
    const keys = contentKeys(99, BLOCKS);
    using worker = new TestWorker();
    const sent = await worker.pick(pickRequest("burst-0", { keys }));
    const [first] = sent.ok ? sent.endpoints : [];
    const burst: string[] = [];
    for (let i = 1; i < 6; i++) burst.push(await pick(`burst-${i}`, keys));
    expect(new Set(burst)).toEqual(new Set([first]));
  });

  it("counts so what an isolate tells of after its relay has told how it ended", async () => {
    const [collector] = await poolWith("c0");
    await known("exact", collector!);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const addresses = [1, 2, 3, 4].map((n) => `10.0.0.${n}:8000`);
    const commits = addresses.map((address, n) =>
      localCommit(n, { endpoints: [address], keys: contentKeys(90 + n, BLOCKS) }),
    );
    relay.reports(commits.map(closedOf));
    await until(async () => {
      const [row] = await runInDurableObject(poolStub(), (_object, { storage }) =>
        storage.sql.exec("SELECT TOTAL(requests) AS requests FROM usage").toArray(),
      );
      return row!["requests"] === commits.length;
    });
    await sync({ commits });
    const next = await Promise.all(commits.map(({ keys }, n) => pick(`next-${n}`, keys)));
    expect(next).toEqual(addresses);
  });

  it("does not count a prompt as cached where it was not sent after all", async () => {
    const [collector] = await poolWith("c0");
    await known("exact", collector!);
    for (let i = 0; i < 2; i++) await pick(`unsent-${i}`, contentKeys(99, BLOCKS));
    const metrics = await env.POOLS.metrics("eu-1");
    expect(metrics).toContain('fairlead_kv_speculation_ends_total{name="eu-1",end="withdrawn"} 2');
  });

  it("asks anew on another stream where a section is missing", async () => {
    const collector = await poolWithEndpoints(1, PRECISE);
    const offer = new TextEncoder().encode(JSON.stringify({ whole: [0], partial: [] }));
    collector.frame((place) => encodeFrame({ type: FRAME.kvOffer, ...place }, offer));
    const { streams } = await collector.received("kv-send");
    const { stream } = streams[0]!;
    collector.frame((place) => encodeKv(place, [section({ stream, completes: false })]));
    collector.frame((place) => encodeKv(place, [section({ stream, seq: 2, begins: false })]));
    const again = await collector.received("kv-send", 2);
    expect(again.streams[0]!.stream).not.toBe(stream);
    // What still comes on the old one counts for nothing.
    collector.frame((place) => encodeKv(place, [section({ stream, seq: 1, begins: false })]));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await poolStub().state()).endpoints[0]!.knowledge).toBe("none");
    collector.frame((place) => encodeKv(place, [section({ stream: again.streams[0]!.stream })]));
    await until(async () => (await poolStub().state()).endpoints[0]!.knowledge === "exact");
  });

  it("asks anew where a frame is missing, whatever was in it", async () => {
    const [collector] = await poolWith("c0");
    await known("exact", collector!);
    collector!.agent.skip(1);
    collector!.agent.metrics([]);
    const asks = () => collector!.agent.messages.filter(({ t }) => t === "kv-send").length;
    await until(() => asks() === 2);
    expect(await known("exact", collector!)).toBe(true);
  });

  it("gives credit for what it has taken", async () => {
    const collector = await poolWithEndpoints(1, PRECISE);
    const { kvWindowBytes } = await collector.received("configure");
    const offer = new TextEncoder().encode(JSON.stringify({ whole: [0], partial: [] }));
    collector.frame((place) => encodeFrame({ type: FRAME.kvOffer, ...place }, offer));
    const { stream } = (await collector.received("kv-send")).streams[0]!;
    const keys = contentKeys(1, 4_000);
    let seqs = 0;
    for (let bytes = 0; bytes < kvWindowBytes! * 2; bytes += keys.byteLength) {
      const given = { stream, seq: seqs, begins: seqs === 0, completes: false, keys };
      collector.frame((place) => encodeKv(place, [section({ ...given, onGpuCount: 4_000 })]));
      seqs++;
    }
    expect((await collector.received("kv-credit")).seq).toBeGreaterThan(2);
  });

  it.for([
    { name: "from a relay", hello: { role: "relay", agent: "r" } as const, payload: "{}" },
    {
      name: "of an endpoint that was not listed",
      hello: {},
      payload: '{"whole":[4],"partial":[]}',
    },
    { name: "that is none", hello: {}, payload: '{"whole":1}' },
  ])("refuses an offer $name", async ({ hello, payload }) => {
    await configurePool(1, 200, PRECISE);
    const agent = await TestAgent.greeted(hello);
    if (agent.messages[0]!.t === "welcome")
      agent.membership(hello.role === "relay" ? [] : [endpoint(1)]);
    const bytes = new TextEncoder().encode(payload);
    agent.frame((place) => encodeFrame({ type: FRAME.kvOffer, ...place }, bytes));
    expect((await agent.received("refused")).code).toBe("protocol-error");
  });

  it("refuses a KV frame that is cut off", async () => {
    await configurePool(1, 200, PRECISE);
    const agent = await TestAgent.greeted();
    agent.frame((place) => encodeFrame({ type: FRAME.kv, ...place }, new Uint8Array(23)));
    expect((await agent.received("refused")).message).toContain("too-short");
  });

  it("takes nothing from agents of the version before, and from relays", async () => {
    await configurePool(1, 200, PRECISE);
    const older = await TestAgent.greeted({ v: 1 });
    const relay = await TestAgent.greeted({ role: "relay", agent: "r" });
    const windows = [older, relay].map(
      ({ messages }) =>
        messages.flatMap((each) => (each.t === "configure" ? [each] : []))[0]!.kvWindowBytes,
    );
    expect(windows).toEqual([undefined, undefined]);
  });
});

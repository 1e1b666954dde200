// Engines' caches against what the object's index says of them, through all that is between: batches in the
// engines' bytes, numbering and replays, content keys, frames, feeds. Two engines with two tiers keep what
// they say for a while; links lose and repeat batches, change their bytes, and collectors begin anew.
//
// Where all of an endpoint is said to be known, the index is equal to its cache once all is quiet; where not,
// it claims nothing that the cache lacks.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KvEventCounts } from "../../../src/agents/collector/kv-events/counters.ts";
import { decodeBatch } from "../../../src/agents/collector/kv-events/decode-batch.ts";
import { PublisherAccount } from "../../../src/agents/collector/kv-events/publisher-account.ts";
import { KvStream } from "../../../src/agents/collector/kv-stream/kv-stream.ts";
import { PoolAccount } from "../../../src/agents/collector/learning/pool-account.ts";
import { encodeFrame, encodeMetrics, FRAME } from "../../../src/agents/protocol/codec.ts";
import type { FramePlace } from "../../../src/agents/protocol/codec.ts";
import type { EndpointRecord, KvMessage } from "../../../src/agents/protocol/messages.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";
import { AgentFrames } from "../../../src/durable/agent-frames.ts";
import { KV_FEED_LIMITS, KvFeeds } from "../../../src/durable/kv/kv-feeds.ts";
import type {
  KvEventConsumer,
  KvEventSource,
} from "../../../src/scheduler/kv/residency/kv-event.ts";
import { tokenBlockKeys } from "../../../src/scheduler/kv/residency/token-keys.ts";
import { ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";
import { ENDPOINTS_MAX, EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { packBatch } from "./kv-events/support/batches.ts";

const ENGINES = 2;
const PROMPTS = 3;
const BLOCKS = 3;
const BLOCK_TOKENS = 4;
/** Batches that an engine keeps for replays. */
const KEPT = 3;
const WINDOW_BYTES = 64 * 1024;
const ROUNDS = 60;
/** Of settling: nobody is silent, and all together is longer than anything is held back. */
const ROUND_MS = 200;

/** Prompts begin alike: their first block is the same. Each block of tokens is one of content. */
const blockOf = (prompt: number, place: number) => (place === 0 ? 0 : prompt * BLOCKS + place);
const BLOCK_IDS = [
  ...new Set(
    Array.from({ length: PROMPTS * BLOCKS }, (_, i) => blockOf(Math.floor(i / BLOCKS), i % BLOCKS)),
  ),
];
const tokensOf = (id: number) => Array.from({ length: BLOCK_TOKENS }, (_, i) => 100 * id + i);
const contentHigh = (id: number) => Math.imul(id + 1, 0x9e37_79b1) >>> 0;
const CONTENTS = Array.from({ length: PROMPTS }, (_, prompt) => {
  const ids = Array.from({ length: BLOCKS }, (_, place) => blockOf(prompt, place));
  return {
    tokensPerKey: BLOCK_TOKENS,
    contentKeys: Uint32Array.from(ids.flatMap((id) => [id + 1, contentHigh(id)])),
    tokenKeys: tokenBlockKeys({
      adapter: null,
      tokens: Uint32Array.from(ids.flatMap(tokensOf)),
      blockSize: BLOCK_TOKENS,
      extraKeys: [],
    }),
    tokenCounts: Uint32Array.from(ids, (_, place) => (place + 1) * BLOCK_TOKENS),
  };
});

const endpointOf = (n: number): EndpointRecord => ({
  id: `e${n}`,
  address: `10.0.0.${n + 1}:8000`,
  engine: "vllm",
  labels: {},
});

interface Batch {
  readonly topic: Uint8Array;
  readonly seq: number;
  readonly payload: Uint8Array;
}

/** What it holds by block: copies in the GPUs' memory, and whether it is in the CPU's. */
class Engine {
  readonly gpu = new Map<number, number>();
  readonly cpu = new Set<number>();
  kept: Batch[] = [];
  #seq = 0;
  #process = 0;

  /** A prompt's first blocks: those that are not in the GPUs' memory, and the last one also if it is. */
  store(prompt: number, last: number): unknown[][] {
    const places = Array.from({ length: last + 1 }, (_, place) => place);
    return places
      .filter((place) => place === last || this.holds(blockOf(prompt, place))[1] === 0)
      .map((place) => {
        const id = blockOf(prompt, place);
        this.gpu.set(id, (this.gpu.get(id) ?? 0) + 1);
        const parent = place === 0 ? null : this.#hash(blockOf(prompt, place - 1));
        return ["BlockStored", [this.#hash(id)], parent, tokensOf(id), BLOCK_TOKENS, null, "GPU"];
      });
  }

  /** One of its copies. */
  evict(id: number): unknown[][] {
    const copies = this.gpu.get(id) ?? 0;
    if (copies === 0) return [];
    this.gpu.set(id, copies - 1);
    return [["BlockRemoved", [this.#hash(id)], "GPU"]];
  }

  /** To the CPU's memory, or out of it. */
  offload(id: number): unknown[][] {
    if (this.cpu.delete(id)) return [["BlockRemoved", [this.#hash(id)], "CPU"]];
    if ((this.gpu.get(id) ?? 0) === 0) return [];
    this.cpu.add(id);
    return [["BlockStored", [this.#hash(id)], null, [], 0, null, "CPU"]];
  }

  clear(): unknown[][] {
    this.#forget();
    return [["AllBlocksCleared"]];
  }

  restart(): void {
    this.#forget();
    this.kept = [];
    this.#seq = 0;
    this.#process++;
  }

  /** Its next batch, kept for replays. `change` may spoil its bytes. */
  publish(events: unknown[][], change: (payload: Buffer) => Uint8Array): Batch {
    const seq = this.#seq++;
    // The time makes a process's batches unlike those of another.
    const payload = change(packBatch(events, 0, this.#process * 1_000 + seq + 0.5));
    const batch = { topic: new Uint8Array(0), seq, payload };
    this.kept.push(batch);
    // Never one alone: a history that begins with the second batch is taken for one that is numbered from 1.
    if (this.kept.length > KEPT) this.kept.splice(0, 2);
    return batch;
  }

  /** Of a block: [held, on GPUs]. */
  holds(id: number): readonly [number, number] {
    const isOnGpu = (this.gpu.get(id) ?? 0) > 0;
    return [isOnGpu || this.cpu.has(id) ? 1 : 0, isOnGpu ? 1 : 0];
  }

  #forget(): void {
    this.gpu.clear();
    this.cpu.clear();
  }

  #hash(id: number): number {
    return 1_000 * (this.#process + 1) + id + 1;
  }
}

/** Follows both engines, keeps account, and streams to the object. */
class Collector {
  readonly inbox: KvMessage[] = [];
  outbox: Uint8Array[] = [];
  readonly publishers: readonly PublisherAccount[];
  readonly #account: PoolAccount;
  readonly #stream: KvStream;
  #epoch = "";
  #seq = 0;

  constructor() {
    this.#stream = new KvStream({
      send: (encode) => this.#send(encode),
      sourceAt: (slot) => this.#account.sourceAt(slot),
      whole: () => this.#whole(),
      registry: new MetricRegistry(),
    });
    this.#account = new PoolAccount(this.#stream);
    const account = this.#account;
    const consumer: KvEventConsumer = {
      stored: (source, event) => account.stored(source, event),
      removed: (source, event) => account.removed(source, event),
      cleared: (source, isNewProcess) => account.cleared(source, isNewProcess),
      uncertain: (source) => {
        this.#stream.doubted();
        account.uncertain(source);
      },
      gone: (source) => account.gone(source),
    };
    const counts = new KvEventCounts();
    this.publishers = Array.from({ length: ENGINES }, (_, n) => {
      const { id } = endpointOf(n);
      const source: KvEventSource = { endpoint: id, rank: 0 };
      return new PublisherAccount({ source, consumer, counts: counts.of(id) });
    });
    const endpoints = Array.from({ length: ENGINES }, (_, n) => endpointOf(n));
    this.#stream.follow(endpoints);
    this.#stream.connected();
    this.#stream.configured(WINDOW_BYTES, false);
    const list = Buffer.from(JSON.stringify({ endpoints }));
    this.#send((place) => encodeFrame({ type: FRAME.membership, ...place }, list));
    this.#stream.listed();
  }

  take(n: number, batch: Batch, engine: Engine, canReplay: boolean): void {
    if (this.publishers[n]!.takeLive(batch, canReplay) === "behind") this.catchUp(n, engine);
    this.#learn();
  }

  /** A replay, and another one if the engine turns out to be a new process. */
  catchUp(n: number, engine: Engine): void {
    const publisher = this.publishers[n]!;
    for (let isAgain = true; isAgain;) {
      publisher.beginReplay();
      const from = publisher.replayFrom;
      isAgain = engine.kept
        .filter(({ seq }) => seq >= from)
        .some((batch) => publisher.takeReplayed(batch) === "again");
      isAgain ||= publisher.endReplay() === "again";
    }
    this.#learn();
  }

  flush(): void {
    this.#send((place) => encodeMetrics(place, []));
    this.#stream.flush();
  }

  receive(): void {
    for (const message of this.inbox.splice(0)) this.#stream.received(message);
  }

  #whole(): Map<string, boolean> {
    return new Map(this.publishers.map(({ isWhole }, n) => [endpointOf(n).id, isWhole]));
  }

  /** As a relay does: everything again in each life. */
  #learn(): void {
    if (!this.#account.isReady || this.#epoch === this.#account.epoch) return;
    this.#epoch = this.#account.epoch;
    for (const content of CONTENTS) this.#account.learn(content);
  }

  #send(encode: (place: FramePlace) => Uint8Array): boolean {
    this.outbox.push(encode({ version: PROTOCOL_VERSION, seq: ++this.#seq }));
    return true;
  }
}

const engine = fc.nat(ENGINES - 1);
const id = fc.constantFrom(...BLOCK_IDS);
const how = fc.record({
  /** Of a batch on its way. */
  link: fc.constantFrom("well", "well", "well", "well", "lost", "twice"),
  canReplay: fc.boolean(),
  spoilt: fc.constantFrom(null, null, null, null, null, { at: 3, byte: 0xc1 }, { at: 9, byte: 0 }),
});
const prompt = fc.nat(PROMPTS - 1);
const op = <Name extends string, Fields extends object>(name: Name, fields: Fields) => ({
  op: fc.constant(name),
  ...fields,
});
const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record(op("store", { engine, prompt, place: fc.nat(BLOCKS - 1), how })),
  },
  { weight: 5, arbitrary: fc.record(op("evict", { engine, id, how })) },
  { weight: 3, arbitrary: fc.record(op("offload", { engine, id, how })) },
  { weight: 1, arbitrary: fc.record(op("clear", { engine, how })) },
  { weight: 1, arbitrary: fc.record(op("restart", { engine })) },
  { weight: 1, arbitrary: fc.record(op("catch-up", { engine })) },
  { weight: 1, arbitrary: fc.record(op("kill", {})) },
  { weight: 6, arbitrary: fc.record(op("deliver", {})) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;
type How = typeof how extends fc.Arbitrary<infer Value> ? Value : never;
const WELL: How = { link: "well", canReplay: true, spoilt: null };

class World {
  readonly engines = Array.from({ length: ENGINES }, () => new Engine());
  readonly index = new ResidentIndex();
  readonly feeds: KvFeeds;
  readonly #table = new EndpointTable();
  readonly #deferred: (() => void)[] = [];
  readonly #areChanged: boolean;
  #collector = new Collector();
  #frames = new AgentFrames(PROTOCOL_VERSION);
  #nowMs = 0;
  /** To engines that are new processes: they are asked for what they keep before anything is taken from them. */
  readonly #newLinks = new Set<number>();

  constructor(areChanged: boolean) {
    this.#areChanged = areChanged;
    for (let n = 0; n < ENGINES; n++) this.#table.add(endpointOf(n));
    this.feeds = new KvFeeds({
      table: this.#table,
      index: this.index,
      firstStream: 1,
      tell: (_agent, message) => void this.#collector.inbox.push(message),
      clock: () => this.#nowMs,
      silentAfterMs: () => 0,
      defer: (callback) => void this.#deferred.push(callback),
      limits: { ...KV_FEED_LIMITS, windowBytes: WINDOW_BYTES },
    });
  }

  apply(given: Step): void {
    switch (given.op) {
      case "store": {
        const { engine: n, prompt: of, place } = given;
        return this.#say(n, this.engines[n]!.store(of, place), given.how);
      }
      case "evict":
        return this.#say(given.engine, this.engines[given.engine]!.evict(given.id), given.how);
      case "offload":
        return this.#say(given.engine, this.engines[given.engine]!.offload(given.id), given.how);
      case "clear":
        return this.#say(given.engine, this.engines[given.engine]!.clear(), given.how);
      case "restart":
        this.#newLinks.add(given.engine);
        return this.engines[given.engine]!.restart();
      case "catch-up":
        return this.#collector.catchUp(given.engine, this.engines[given.engine]!);
      case "kill":
        this.feeds.disconnected("c");
        this.#collector = new Collector();
        this.#frames = new AgentFrames(PROTOCOL_VERSION);
        return;
      case "deliver":
        return this.#deliver();
    }
  }

  /** Publishers are asked for what they keep, everything arrives, and nothing changes any more. */
  settle(): void {
    this.engines.forEach((each, n) => this.#collector.catchUp(n, each));
    for (let round = 0; round < ROUNDS; round++) {
      this.#nowMs += ROUND_MS;
      this.#deliver();
      for (const callback of this.#deferred.splice(0)) callback();
      this.feeds.watch();
    }
  }

  slotOf(n: number): number {
    return this.#table.slotOfAddress(endpointOf(n).address)!;
  }

  /** What the index says of a block: [held, on GPUs]. */
  known(n: number, block: number): readonly [number, number] {
    const [matched, onGpu] = [new Int32Array(ENDPOINTS_MAX), new Int32Array(ENDPOINTS_MAX)];
    this.index.match(Uint32Array.of(block + 1, contentHigh(block)), matched, onGpu);
    return [matched[this.slotOf(n)]!, onGpu[this.slotOf(n)]!];
  }

  #say(n: number, events: unknown[][], { link, canReplay, spoilt }: How): void {
    if (events.length === 0) return;
    const engineOf = this.engines[n]!;
    const isSpoilt = this.#areChanged && spoilt !== null;
    const batch = engineOf.publish(events, (payload) =>
      isSpoilt ? spoil(payload, spoilt) : payload,
    );
    if (link === "lost") return;
    if (this.#newLinks.delete(n)) this.#collector.catchUp(n, engineOf);
    this.#collector.take(n, batch, engineOf, canReplay);
    if (link === "twice") this.#collector.take(n, batch, engineOf, canReplay);
  }

  #deliver(): void {
    this.#collector.flush();
    for (const bytes of this.#collector.outbox.splice(0)) {
      const decoded = this.#frames.decode(bytes);
      if (!decoded.ok) throw new Error(decoded.error);
      this.feeds.heard("c");
      const { frame } = decoded;
      if (frame.kind === "kv-offer") this.feeds.offered("c", frame.offer);
      if (frame.kind !== "kv") continue;
      const place = { seq: this.#frames.lastSeq, bytes: bytes.byteLength };
      this.feeds.received("c", frame.sections, place);
    }
    this.#collector.receive();
  }
}

/** What reads as another good batch cannot be told from one: that is changed into what cannot be read. */
function spoil(payload: Buffer, { at, byte }: { at: number; byte: number }): Uint8Array {
  const changed = Uint8Array.from(payload);
  changed[Math.floor((payload.length * at) / 10)] = byte;
  const decoded = decodeBatch(changed);
  return decoded.ok && decoded.skipped.malformed === 0 ? Uint8Array.of(0xc1) : changed;
}

/** What is wrong with what is known of an engine. */
function mistakes(world: World, n: number): unknown[] {
  const isExact = world.feeds.knowledge(world.slotOf(n)) === "exact";
  return BLOCK_IDS.flatMap((block) => {
    const [known, held] = [world.known(n, block), world.engines[n]!.holds(block)];
    const isRight = isExact
      ? known[0] === held[0] && known[1] === held[1]
      : known[0] <= held[0] && known[1] <= held[1];
    return isRight ? [] : [{ n, block, isExact, known, held }];
  });
}

/** More is lost than the engine keeps. */
const HISTORY_LOST: Step[] = [
  { op: "store", engine: 0, prompt: 0, place: 2, how: WELL },
  ...Array.from({ length: KEPT + 2 }, (): Step => {
    return { op: "store", engine: 0, prompt: 1, place: 2, how: { ...WELL, link: "lost" } };
  }),
  { op: "store", engine: 0, prompt: 0, place: 0, how: WELL },
];

const steps = fc.array(step, { maxLength: 80, size: "max" });

function run(given: readonly Step[], areChanged: boolean): World {
  const world = new World(areChanged);
  for (const each of given) world.apply(each);
  world.settle();
  return world;
}

describe("from engines' bytes to the object's index", () => {
  it("what is known is what caches hold, and what is partial claims nothing else", () => {
    let exact = 0;
    fc.assert(
      fc.property(steps, (given) => {
        const world = run(given, false);
        for (let n = 0; n < ENGINES; n++) {
          expect(mistakes(world, n)).toEqual([]);
          if (world.feeds.knowledge(world.slotOf(n)) === "exact") exact++;
        }
      }),
      { numRuns: 100, examples: [[HISTORY_LOST]] },
    );
    expect(exact).toBeGreaterThan(0);
  });

  it("bytes that changed on their way make nothing wrong, and all is known again once a cache was cleared", () => {
    fc.assert(
      fc.property(steps, (given) => {
        const world = run(given, true);
        for (let n = 0; n < ENGINES; n++) expect(mistakes(world, n)).toEqual([]);
        for (let n = 0; n < ENGINES; n++) {
          world.apply({ op: "clear", engine: n, how: WELL });
          for (const place of [0, 1])
            world.apply({ op: "store", engine: n, prompt: n, place, how: WELL });
        }
        world.settle();
        for (let n = 0; n < ENGINES; n++) {
          expect(world.feeds.knowledge(world.slotOf(n))).toBe("exact");
          expect(mistakes(world, n)).toEqual([]);
        }
      }),
      { numRuns: 100 },
    );
  });
});

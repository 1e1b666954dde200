// Collectors' KvStream and the object's KvFeeds against plain Maps: over connections that lose frames and
// break, with collectors, object and engines that start anew, in any order, the object's index is equal to
// what engines hold once all is quiet. Frames go through the wire's bytes.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KvStream } from "../../../../src/agents/collector/kv-stream/kv-stream.ts";
import {
  encodeFrame,
  encodeMetrics,
  FRAME,
  type FramePlace,
} from "../../../../src/agents/protocol/codec.ts";
import { KV_TOKEN_UNIT } from "../../../../src/agents/protocol/kv-frames.ts";
import type { EndpointRecord, KvMessage } from "../../../../src/agents/protocol/messages.ts";
import { PROTOCOL_VERSION } from "../../../../src/agents/protocol/version.ts";
import { AgentFrames } from "../../../../src/durable/agent-frames.ts";
import { KV_FEED_LIMITS, KvFeeds } from "../../../../src/durable/kv/kv-feeds.ts";
import { KvIntake } from "../../../../src/durable/kv/kv-intake.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../../src/scheduler/kv/residency/holding.ts";
import { ResidentIndex } from "../../../../src/scheduler/kv/resident-index.ts";
import { ENDPOINTS_MAX, EndpointTable } from "../../../../src/scheduler/model/endpoint-table.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";

const COLLECTORS = 3;
const ENDPOINTS = 4;
const KEYS = 24;
/** Small, so that streams wait for credit, and accounts for one another. */
const LIMITS = { ...KV_FEED_LIMITS, windowBytes: 200, buildingMax: 2, sweepEntries: 5 };
/** Of settling: nobody is silent, and all together is longer than anything is held back. */
const ROUND_MS = 100;
/** Frames wait, and sometimes too many of them. */
const INTAKE_LIMITS = { sliceKeys: 3, waitingBytesMax: 400 };
/** Tokens up to a key, which are of that unit. */
const tokensUpTo = (key: number) => key * KV_TOKEN_UNIT;

const endpointOf = (n: number): EndpointRecord => ({
  id: `e${n}`,
  address: `10.0.0.${n + 1}:8000`,
  engine: "vllm",
  labels: {},
});
const highOf = (key: number) => Math.imul(key + 1, 0x9e37_79b1) >>> 0;

/** What engines hold, by endpoint, and which of them are in the pool. */
class Engines {
  readonly held = Array.from({ length: ENDPOINTS }, () => new Map<number, Holding>());
  readonly isListed = Array.from({ length: ENDPOINTS }, () => true);

  get listed(): EndpointRecord[] {
    return this.isListed.flatMap((isListed, n) => (isListed ? [endpointOf(n)] : []));
  }
}

/** The object's side; made anew when it loses its memory. */
class TestObject {
  readonly table = new EndpointTable();
  readonly index = new ResidentIndex({ lanesMax: 7 });
  readonly deferred: (() => void)[] = [];
  readonly feeds: KvFeeds;
  readonly intake: KvIntake;
  nowMs = 0;
  readonly frames = new Map<Collector, AgentFrames>();

  constructor(
    engines: Engines,
    firstStream: number,
    tell: (agent: string, message: KvMessage) => void,
  ) {
    for (const endpoint of engines.listed) this.table.add(endpoint);
    const { table, index } = this;
    const defer = (callback: () => void) => void this.deferred.push(callback);
    this.feeds = new KvFeeds({
      table,
      index,
      firstStream,
      tell,
      defer,
      clock: () => this.nowMs,
      silentAfterMs: () => 0,
      limits: LIMITS,
    });
    this.intake = new KvIntake({ feeds: this.feeds, defer, limits: INTAKE_LIMITS });
  }

  take(collector: Collector, bytes: Uint8Array): void {
    const frames = this.frames.get(collector)!;
    const decoded = frames.decode(bytes);
    if (!decoded.ok) throw new Error(decoded.error);
    if (decoded.isAfterGap) {
      collector.inbox.push("resync");
      this.intake.lost(collector.name, frames.lastSeq);
    }
    this.feeds.heard(collector.name);
    const { frame } = decoded;
    if (frame.kind === "membership") this.#list(frame.endpoints);
    if (frame.kind === "kv-offer") this.intake.offered(collector.name, frame.offer);
    if (frame.kind === "kv") {
      const place = { seq: frames.lastSeq, bytes: bytes.byteLength };
      this.intake.received(collector.name, frame.sections, place);
    }
  }

  matched(endpoint: number, key: number): readonly [number, number] {
    const slot = this.table.slotOfAddress(endpointOf(endpoint).address)!;
    const [matched, onGpu] = [new Int32Array(ENDPOINTS_MAX), new Int32Array(ENDPOINTS_MAX)];
    this.index.match(Uint32Array.of(key, highOf(key)), matched, onGpu);
    // Told with the key, and kept as long as anybody holds it.
    if (matched[slot] === 1 && this.index.endOfMatch(1) !== key) throw new Error("another's end");
    return [matched[slot]!, onGpu[slot]!];
  }

  #list(endpoints: readonly EndpointRecord[]): void {
    const addresses = new Set(endpoints.map(({ address }) => address));
    for (const slot of this.table.slots()) {
      if (addresses.has(this.table.endpoint(slot)!.address)) continue;
      this.table.remove(slot);
      this.feeds.endpointRemoved(slot);
    }
    for (const endpoint of endpoints) this.table.add(endpoint);
    this.feeds.assign();
  }
}

/**
 * A collector that hears engines at once; its connection holds what is under way. One that has begun anew knows
 * the first few keys only, until it learns the others.
 */
class Collector {
  readonly name: string;
  readonly inbox: (KvMessage | "resync")[] = [];
  outbox: Uint8Array[] = [];
  isWhole = true;
  readonly #engines: Engines;
  #learned = KEYS;
  #seq = 0;
  #stream: KvStream;
  #isListDue = true;

  constructor(name: string, engines: Engines) {
    this.name = name;
    this.#engines = engines;
    this.#stream = this.#start();
  }

  held(endpoint: number, key: number, holding: Holding): void {
    if (key < this.#learned) this.#stream.held(endpoint, key, highOf(key), holding);
  }

  restart(learned: number): void {
    this.#seq = 0;
    this.#learned = learned;
    this.#stream = this.#start();
  }

  learn(): void {
    this.#learned = KEYS;
    this.#tellAll();
  }

  connected(): void {
    this.outbox = [];
    this.inbox.length = 0;
    this.#isListDue = true;
    this.#stream.connected();
    this.#stream.configured(LIMITS.windowBytes, true);
  }

  /** An endpoint has come or gone. Of one that came, its engine is asked for everything. */
  listChanged(endpoint: number): void {
    this.#isListDue = true;
    this.#stream.follow(this.#engines.listed);
    if (!this.#engines.isListed[endpoint]) return;
    for (const [key, holding] of this.#engines.held[endpoint]!) this.held(endpoint, key, holding);
  }

  flush(): void {
    if (this.#isListDue) {
      const payload = Buffer.from(JSON.stringify({ endpoints: this.#engines.listed }));
      this.#send((place) => encodeFrame({ type: FRAME.membership, ...place }, payload));
      this.#isListDue = false;
      this.#stream.listed();
    }
    this.#send((place) => encodeMetrics(place, []));
    this.#stream.flush();
  }

  receive(): void {
    const message = this.inbox.shift();
    if (message === "resync") this.#isListDue = true;
    else if (message !== undefined) this.#stream.received(message);
  }

  #start(): KvStream {
    const sources = Array.from({ length: ENDPOINTS }, (_, n) => ({ endpoint: `e${n}`, rank: 0 }));
    const stream = new KvStream({
      send: (encode) => this.#send(encode),
      sourceAt: (slot) => sources[slot],
      whole: () => new Map(this.#engines.listed.map(({ id }) => [id, this.#isWhole])),
      tokensUpTo,
      registry: new MetricRegistry(),
    });
    stream.follow(this.#engines.listed);
    this.#stream = stream;
    this.#tellAll();
    return stream;
  }

  get #isWhole(): boolean {
    return this.isWhole && this.#learned === KEYS;
  }

  #tellAll(): void {
    this.#engines.held.forEach((held, endpoint) => {
      for (const [key, holding] of held) this.held(endpoint, key, holding);
    });
  }

  #send(encode: (place: FramePlace) => Uint8Array): boolean {
    this.outbox.push(encode({ version: PROTOCOL_VERSION, seq: ++this.#seq }));
    return true;
  }
}

const who = fc.nat(COLLECTORS - 1);
const endpoint = fc.nat(ENDPOINTS - 1);
const holding = fc.constantFrom<Holding>(NOT_HELD, HELD_BELOW, HELD_ON_GPU, HELD_ON_GPU);
/** Of a collector that has begun anew. */
const learned = fc.nat(KEYS);
const step = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      op: fc.constant("hold" as const),
      endpoint,
      key: fc.nat(KEYS - 1),
      holding,
    }),
  },
  { weight: 8, arbitrary: fc.record({ op: fc.constant("flush" as const), who }) },
  {
    weight: 12,
    arbitrary: fc.record({ op: fc.constant("deliver" as const), who, count: fc.nat(4) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ op: fc.constant("answer" as const), who, count: fc.nat(3) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("lose" as const), who }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("cut" as const), who }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("kill" as const), who, learned }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("learn" as const), who }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("doubt" as const), who, isWhole: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.constant({ op: "forget" as const }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("restart" as const), endpoint }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("list" as const), endpoint }) },
  { weight: 4, arbitrary: fc.constant({ op: "turn" as const }) },
  { weight: 1, arbitrary: fc.constant({ op: "silence" as const }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;
/** The last that happens before all is quiet: changes, of which some are told and lost. */
const lastStep = fc.oneof(
  fc.record({ op: fc.constant("hold" as const), endpoint, key: fc.nat(KEYS - 1), holding }),
  fc.record({ op: fc.constant("flush" as const), who }),
  fc.record({ op: fc.constant("lose" as const), who }),
  fc.record({ op: fc.constant("deliver" as const), who, count: fc.nat(2) }),
);

const steps = fc.array(step, { maxLength: 250, size: "max" });
const lastSteps = fc.array(lastStep, { maxLength: 20, size: "max" });

class World {
  readonly engines = new Engines();
  readonly collectors = Array.from(
    { length: COLLECTORS },
    (_, n) => new Collector(`c${n}`, this.engines),
  );
  object: TestObject;
  #firstStream = 1_000;

  constructor() {
    this.object = this.#newObject();
    for (const collector of this.collectors) this.#connect(collector);
  }

  apply(given: Step): void {
    switch (given.op) {
      case "hold":
        return this.#hold(given.endpoint, given.key, given.holding);
      case "flush":
        return this.collectors[given.who]!.flush();
      case "deliver":
        return this.#deliver(this.collectors[given.who]!, given.count);
      case "answer":
        for (let i = 0; i < given.count; i++) this.collectors[given.who]!.receive();
        return;
      case "lose":
        return this.#lose(this.collectors[given.who]!);
      case "cut":
        return this.#connect(this.collectors[given.who]!);
      case "kill":
        this.collectors[given.who]!.restart(given.learned);
        return this.#connect(this.collectors[given.who]!);
      case "learn":
        return this.collectors[given.who]!.learn();
      case "doubt":
        this.collectors[given.who]!.isWhole = given.isWhole;
        return;
      case "forget":
        this.object = this.#newObject();
        for (const collector of this.collectors) this.#connect(collector);
        return;
      case "restart":
        return this.#restartEngine(given.endpoint);
      case "list":
        this.engines.isListed[given.endpoint] = !this.engines.isListed[given.endpoint];
        for (const collector of this.collectors) collector.listChanged(given.endpoint);
        return;
      case "turn":
        this.object.deferred.shift()?.();
        return;
      case "silence":
        // Nothing comes of anybody: who is heard next takes over from those that are not.
        this.object.nowMs += LIMITS.silentMs + 1;
        this.object.feeds.watch();
        return;
    }
  }

  /** Everything arrives, and nothing changes any more. */
  settle(): void {
    for (const collector of this.collectors) collector.learn();
    for (let round = 0; round < 400; round++) {
      this.object.nowMs += ROUND_MS;
      for (const collector of this.collectors) {
        collector.flush();
        this.#deliver(collector, collector.outbox.length);
        while (collector.inbox.length > 0) collector.receive();
      }
      for (const callback of this.object.deferred.splice(0)) callback();
      this.object.feeds.watch();
    }
  }

  #hold(at: number, key: number, now: Holding): void {
    if (!this.engines.isListed[at]) return;
    if ((this.engines.held[at]!.get(key) ?? NOT_HELD) === now) return;
    this.engines.held[at]!.set(key, now);
    for (const collector of this.collectors) collector.held(at, key, now);
  }

  #restartEngine(at: number): void {
    for (const [key, was] of this.engines.held[at]!) {
      if (was !== NOT_HELD)
        for (const collector of this.collectors) collector.held(at, key, NOT_HELD);
    }
    this.engines.held[at]!.clear();
    const slot = this.object.table.slotOfAddress(endpointOf(at).address);
    if (slot !== undefined) this.object.feeds.endpointRestarted(slot);
  }

  #deliver(collector: Collector, count: number): void {
    for (const bytes of collector.outbox.splice(0, count)) this.object.take(collector, bytes);
  }

  /** A connection's first frames are not lost one by one: it would be another connection. */
  #lose(collector: Collector): void {
    if (this.object.frames.get(collector)!.lastSeq > 0) collector.outbox.shift();
  }

  #connect(collector: Collector): void {
    this.object.intake.disconnected(collector.name);
    this.object.frames.set(collector, new AgentFrames(PROTOCOL_VERSION));
    collector.connected();
  }

  #newObject(): TestObject {
    this.#firstStream += 1_000;
    return new TestObject(this.engines, this.#firstStream, (agent, message) => {
      this.collectors.find(({ name }) => name === agent)!.inbox.push(message);
    });
  }
}

function knownOf(world: World, at: number): Record<number, readonly [number, number]> {
  return Object.fromEntries(
    Array.from({ length: KEYS }, (_, key) => [key, world.object.matched(at, key)] as const),
  );
}

function heldOf(world: World, at: number): Record<number, readonly [number, number]> {
  return Object.fromEntries(
    Array.from({ length: KEYS }, (_, key) => {
      const held = world.engines.held[at]!.get(key) ?? NOT_HELD;
      return [key, [held === NOT_HELD ? 0 : 1, held === HELD_ON_GPU ? 1 : 0]] as const;
    }),
  );
}

/** What happens while nothing changes in engines. */
const again = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("flush" as const), who }) },
  {
    weight: 8,
    arbitrary: fc.record({ op: fc.constant("deliver" as const), who, count: fc.nat(4) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constant("answer" as const), who, count: fc.nat(3) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("lose" as const), who }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("cut" as const), who }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("kill" as const), who, learned }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("learn" as const), who }) },
  { weight: 4, arbitrary: fc.constant({ op: "turn" as const }) },
);

/** All collectors are killed, come back with what they know so far, are asked and tell it. */
const ALL_ANEW: Step[] = [
  ...[0, 1, 2].map((n) => ({ op: "kill" as const, who: n, learned: 3 })),
  ...Array.from({ length: 6 * COLLECTORS }, (_, i) => i % COLLECTORS).flatMap((n): Step[] => [
    { op: "flush", who: n },
    { op: "deliver", who: n, count: 10 },
    { op: "answer", who: n, count: 10 },
    { op: "turn" },
  ]),
];

/** An endpoint is asked for, and gone when the collector hears of it, and back before the object does. */
const GONE_AND_BACK: Step[] = [
  { op: "flush", who: 1 },
  { op: "deliver", who: 1, count: 3 },
  { op: "list", endpoint: 1 },
  { op: "answer", who: 1, count: 1 },
  { op: "list", endpoint: 1 },
];

/** What was held and let go before it was told leaves a frame with nothing in it, too small to be credited alone. */
const NOTHING_TO_SAY: Step[] = [
  { op: "flush", who: 2 },
  { op: "deliver", who: 2, count: 3 },
  { op: "answer", who: 2, count: 1 },
  { op: "hold", endpoint: 1, key: 2, holding: HELD_ON_GPU },
  { op: "hold", endpoint: 1, key: 2, holding: NOT_HELD },
];

describe("the stream of content keys", () => {
  it("leaves the object with what engines hold, whatever broke on the way", () => {
    fc.assert(
      fc.property(steps, lastSteps, (some, last) => {
        const world = new World();
        for (const each of [...some, ...last]) world.apply(each);
        world.settle();
        const isAnyWhole = world.collectors.some(({ isWhole }) => isWhole);
        world.engines.isListed.forEach((isListed, at) => {
          if (!isListed) return;
          expect(knownOf(world, at)).toEqual(heldOf(world, at));
          const slot = world.object.table.slotOfAddress(endpointOf(at).address)!;
          expect(world.object.feeds.knowledge(slot)).toBe(isAnyWhole ? "exact" : "partial");
        });
      }),
      {
        numRuns: 200,
        examples: [
          [GONE_AND_BACK, []],
          [NOTHING_TO_SAY, [{ op: "lose", who: 2 }]],
        ],
      },
    );
  });

  it("never knows less than before while collectors begin anew and learn again", () => {
    const some = fc.array(again, { maxLength: 150, size: "max" });
    fc.assert(
      fc.property(some, (given) => {
        const world = new World();
        for (let key = 0; key < KEYS; key++)
          world.apply({ op: "hold", endpoint: 0, key, holding: HELD_ON_GPU });
        world.settle();
        const before = heldOf(world, 0);
        const { table, feeds } = world.object;
        const slot = table.slotOfAddress(endpointOf(0).address)!;
        for (const each of given) {
          world.apply(each);
          expect(feeds.knownBlocks(slot)).toBe(KEYS);
        }
        expect(knownOf(world, 0)).toEqual(before);
      }),
      { numRuns: 60, examples: [[ALL_ANEW]] },
    );
  });

  it("has what a new collector knows so far when it has not learned the rest in time", () => {
    const world = new World();
    for (const key of [1, 2, 3, 4])
      world.apply({ op: "hold", endpoint: 0, key, holding: HELD_ON_GPU });
    world.settle();
    for (const each of ALL_ANEW) world.apply(each);
    const slot = world.object.table.slotOfAddress(endpointOf(0).address)!;
    expect(world.object.feeds.knownBlocks(slot)).toBe(4);
    expect(world.object.feeds.knowledge(slot)).toBe("partial");
    world.object.nowMs += LIMITS.heldBackMs - 1;
    for (let who = 0; who < COLLECTORS; who++) {
      world.apply({ op: "flush", who });
      world.apply({ op: "deliver", who, count: 10 });
    }
    world.object.feeds.watch();
    expect(world.object.feeds.knownBlocks(slot)).toBe(4);
    world.object.nowMs += LIMITS.watchMs;
    world.object.feeds.watch();
    expect(world.object.feeds.knownBlocks(slot)).toBe(2);
    expect(world.object.feeds.knowledge(slot)).toBe("partial");
  });

  it("holds nothing back of an engine that is a new process", () => {
    const world = new World();
    for (const key of [1, 2, 3, 4])
      world.apply({ op: "hold", endpoint: 0, key, holding: HELD_ON_GPU });
    world.settle();
    for (const each of ALL_ANEW) world.apply(each);
    const slot = world.object.table.slotOfAddress(endpointOf(0).address)!;
    world.apply({ op: "restart", endpoint: 0 });
    expect(world.object.feeds.knownBlocks(slot)).toBe(0);
  });
});

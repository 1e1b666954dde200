// What each object of a pool is told of the engines' caches: by frames on its own session, decoded here as
// the object does.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MOVE_STAYS_MS } from "../../../../src/agents/collector/kv-stream/key-mover.ts";
import { ShardStreams } from "../../../../src/agents/collector/kv-stream/shard-streams.ts";
import {
  decodeHeader,
  FRAME,
  type FramePlace,
  framePayload,
} from "../../../../src/agents/protocol/codec.ts";
import { decodeKv } from "../../../../src/agents/protocol/kv-frames.ts";
import { kvOfferSchema } from "../../../../src/agents/protocol/messages.ts";
import { HELD_ON_GPU, NOT_HELD } from "../../../../src/scheduler/kv/residency/holding.ts";
import { KeyChains } from "../../../../src/scheduler/kv/residency/key-chains.ts";
import type { ShardMap } from "../../../../src/scheduler/shards/contracts.ts";
import { EVERY_SHARD } from "../../../../src/scheduler/shards/shard-of.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";

const ENDPOINTS = ["a", "b"];
const WINDOW_BYTES = 1 << 20;

/** What one object knows. */
class Told {
  readonly keys = new Map<string, Set<string>>();
  whole: readonly string[] = [];
  /** How often it was told of everything. */
  snapshots = 0;
  seq = 0;
  isUp = true;
}

class Fixture {
  readonly chains = new KeyChains();
  readonly objects = new Map<number, Told>();
  readonly registry = new MetricRegistry();
  readonly streams: ShardStreams;
  /** By endpoint: keys that it holds, by their names. */
  readonly held = new Map<string, Map<string, readonly [number, number]>>();

  constructor() {
    const sources = ENDPOINTS.map((endpoint) => ({ endpoint, rank: 0 }));
    this.streams = new ShardStreams({
      chains: this.chains,
      registry: this.registry,
      sourceAt: (slot) => sources[slot],
      whole: () => new Map(ENDPOINTS.map((id) => [id, true])),
      send: (encode, shard) => this.#take(encode, shard),
    });
    this.streams.follow(
      ENDPOINTS.map((id) => ({ id, address: `${id}:1`, engine: "vllm", labels: {} })),
    );
    this.connect(0);
  }

  connect(shard: number): Told {
    const object = new Told();
    this.objects.set(shard, object);
    this.streams.open(shard);
    const stream = this.streams.at(shard)!;
    stream.connected();
    stream.configured(WINDOW_BYTES);
    stream.listed();
    const streams = ENDPOINTS.map((endpoint, i) => ({ endpoint, stream: i }));
    stream.received({ t: "kv-send", streams });
    return object;
  }

  use(map: ShardMap): void {
    for (let shard = 0; shard < map.count; shard++) {
      if (!this.objects.has(shard)) this.connect(shard);
    }
    this.streams.use(map);
  }

  hold(slot: number, [low, high]: readonly [number, number], isHeld = true): void {
    const held = this.held.get(ENDPOINTS[slot]!) ?? new Map<string, readonly [number, number]>();
    this.held.set(ENDPOINTS[slot]!, held);
    if (isHeld) held.set(nameOf(low, high), [low, high]);
    else held.delete(nameOf(low, high));
    this.streams.held(slot, low, high, isHeld ? HELD_ON_GPU : NOT_HELD);
  }

  flush(): void {
    this.streams.flush();
    for (const [shard, { seq }] of this.objects) {
      this.streams.at(shard)?.received({ t: "kv-credit", seq });
    }
  }

  /** Keys of an endpoint that belong to a shard. */
  belonging(endpoint: string, shard: number): Set<string> {
    const keys = [...(this.held.get(endpoint) ?? [])].filter(([, [low, high]]) => {
      const belongs = this.chains.shardOf(low, high);
      return belongs === shard || belongs === EVERY_SHARD;
    });
    return new Set(keys.map(([name]) => name));
  }

  knownTo(shard: number, endpoint: string): Set<string> {
    return this.objects.get(shard)!.keys.get(endpoint) ?? new Set();
  }

  #take(encode: (place: FramePlace) => Uint8Array, shard: number): boolean {
    const object = this.objects.get(shard);
    if (object?.isUp !== true) return false;
    const frame = encode({ version: 2, seq: ++object.seq });
    const header = decodeHeader(frame);
    if (!header.ok) throw new Error(header.error);
    if (header.value.type === FRAME.kvOffer) {
      const json: unknown = JSON.parse(Buffer.from(framePayload(frame)).toString());
      object.whole = kvOfferSchema.parse(json).whole.map((index) => ENDPOINTS[index]!);
      return true;
    }
    const decoded = decodeKv(framePayload(frame));
    if (!decoded.ok) throw new Error(decoded.error);
    for (const { stream, begins, keys, onGpuCount } of decoded.value) {
      const endpoint = ENDPOINTS[stream]!;
      if (begins) object.snapshots++;
      const known = begins ? new Set<string>() : this.knownTo(shard, endpoint);
      for (let i = 0; i < keys.length / 2; i++) {
        const name = nameOf(keys[i * 2]!, keys[i * 2 + 1]!);
        if (i < onGpuCount) known.add(name);
        else known.delete(name);
      }
      object.keys.set(endpoint, known);
    }
    return true;
  }
}

const nameOf = (low: number, high: number) => `${low}:${high}`;

/** Blocks of a prompt, known by its chain. */
function prompt(fixture: Fixture, path: readonly number[], isLearned = true) {
  let low = 3;
  let high = 5;
  const keys = path.map((step): readonly [number, number] => {
    low = Math.imul(low ^ step, 0x9e37_79b1) >>> 0;
    high = Math.imul(high + low, 0x85eb_ca6b) >>> 0;
    return [low, high];
  });
  if (isLearned) fixture.chains.learn(Uint32Array.from(keys.flat()));
  return keys;
}

let nowMs = 0;
beforeEach(() => {
  nowMs = 1_000;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
});
afterEach(() => void vi.restoreAllMocks());

/** Until nothing moves any more. */
function settle(fixture: Fixture): void {
  for (let i = 0; i < 20; i++) {
    fixture.flush();
    nowMs += MOVE_STAYS_MS / 4;
  }
}

describe("the objects of a pool", () => {
  it("are told what belongs to them, and all of what is above a split or not known", () => {
    const fixture = new Fixture();
    const shared = prompt(fixture, [1])[0]!;
    fixture.use({ count: 4, version: 1, splits: [[...shared, 1]] });
    for (let i = 0; i < 40; i++) {
      for (const key of prompt(fixture, [1, i, i])) fixture.hold(0, key);
    }
    const strange = prompt(fixture, [9, 9], false)[1]!;
    fixture.hold(0, strange);
    fixture.flush();
    let sum = 0;
    for (let shard = 0; shard < 4; shard++) {
      const known = fixture.knownTo(shard, "a");
      expect(known).toEqual(fixture.belonging("a", shard));
      expect(known).toContain(nameOf(...shared));
      expect(known).toContain(nameOf(...strange));
      expect(known.size).toBeGreaterThan(2);
      sum += known.size - 2;
    }
    // Nothing else twice.
    expect(sum).toBe(80);
  });

  it("are told of an end whoever a block belongs to meanwhile", () => {
    const fixture = new Fixture();
    fixture.use({ count: 4, version: 1, splits: [] });
    const keys = prompt(fixture, [5, 6], false);
    fixture.hold(0, keys[1]!);
    fixture.flush();
    expect(fixture.knownTo(3, "a").size).toBe(1);
    prompt(fixture, [5, 6]);
    fixture.hold(0, keys[1]!, false);
    fixture.flush();
    for (let shard = 0; shard < 4; shard++) expect(fixture.knownTo(shard, "a").size).toBe(0);
  });

  it("hear of blocks that come to belong to them before others hear that they are gone", () => {
    const fixture = new Fixture();
    const keys = Array.from({ length: 60 }, (_, i) => prompt(fixture, [i, i])).flat();
    for (const key of keys) fixture.hold(0, key);
    fixture.flush();
    fixture.use({ count: 2, version: 1, splits: [] });
    fixture.flush();
    expect(fixture.knownTo(1, "a")).toEqual(fixture.belonging("a", 1));
    expect(fixture.knownTo(1, "a").size).toBeGreaterThan(20);
    expect(fixture.knownTo(0, "a").size).toBe(120);
    nowMs += MOVE_STAYS_MS - 1;
    for (let i = 0; i < 3; i++) fixture.flush();
    expect(fixture.knownTo(0, "a").size).toBe(120);
    settle(fixture);
    expect(fixture.knownTo(0, "a")).toEqual(fixture.belonging("a", 0));
    expect(fixture.knownTo(0, "a").size + fixture.knownTo(1, "a").size).toBe(120);
    // By what differs: nobody was told everything anew.
    expect(fixture.objects.get(0)!.snapshots).toBe(2);
  });

  it("take no endpoint for known wholly while blocks are on their way to them", () => {
    const fixture = new Fixture();
    const keys = Array.from({ length: 12_000 }, (_, i) => prompt(fixture, [i, i])).flat();
    for (const key of keys) fixture.hold(0, key);
    for (let i = 0; i < 10; i++) fixture.flush();
    expect(fixture.objects.get(0)!.whole).toEqual(["a", "b"]);
    // To one that is new, and back to one that was told of all the rest before.
    for (const [to, count] of [
      [1, 2],
      [0, 1],
    ] as const) {
      fixture.use({ count, version: count, splits: [] });
      let steps = 0;
      for (;;) {
        fixture.flush();
        steps++;
        const { whole } = fixture.objects.get(to)!;
        const isThere = fixture.knownTo(to, "a").size === fixture.belonging("a", to).size;
        expect(isThere || !whole.includes("a")).toBe(true);
        if (isThere && whole.length === 2) break;
        expect(steps).toBeLessThan(50);
      }
      // A few at a time.
      expect(steps).toBeGreaterThan(2);
      settle(fixture);
    }
  });

  it("go on knowing all where a change gives them nothing", () => {
    const fixture = new Fixture();
    const keys = Array.from({ length: 12_000 }, (_, i) => prompt(fixture, [i, i])).flat();
    for (const key of keys) fixture.hold(0, key);
    for (let i = 0; i < 10; i++) fixture.flush();
    fixture.use({ count: 2, version: 1, splits: [] });
    for (let i = 0; i < 10; i++) {
      fixture.flush();
      expect(fixture.objects.get(0)!.whole).toEqual(["a", "b"]);
    }
    settle(fixture);
    // Another number, and all as it was.
    fixture.use({ count: 2, version: 2, splits: [] });
    expect(fixture.streams.isMoved).toBe(true);
    fixture.flush();
    for (const { whole } of fixture.objects.values()) expect(whole).toEqual(["a", "b"]);
  });

  it("get all they gain though the map changes again and again before they have it", () => {
    const fixture = new Fixture();
    const keys = Array.from({ length: 24_000 }, (_, i) => prompt(fixture, [i, i])).flat();
    for (const key of keys) fixture.hold(0, key);
    for (let i = 0; i < 15; i++) fixture.flush();
    fixture.use({ count: 2, version: 1, splits: [] });
    // A walk takes more steps than there are between two changes, which give the second object nothing.
    const roots = Array.from({ length: 100 }, (_, i) => prompt(fixture, [i])[0]!);
    const its = roots.filter((key) => fixture.chains.shardOf(...key) === 1);
    for (let i = 0; i < 15; i++) {
      const splits = its.slice(0, i + 1).map((key) => [...key, 1] as const);
      fixture.use({ count: 2, version: 2 + i, splits });
      for (let step = 0; step < 2; step++) fixture.flush();
    }
    expect(fixture.streams.isMoved).toBe(false);
    const known = fixture.knownTo(1, "a");
    expect(fixture.objects.get(1)!.whole).toEqual(["a", "b"]);
    expect([...fixture.belonging("a", 1)].filter((key) => !known.has(key))).toEqual([]);
  });

  it("that leave hand on what only they know", () => {
    const fixture = new Fixture();
    fixture.use({ count: 3, version: 1, splits: [] });
    const keys = Array.from({ length: 60 }, (_, i) => prompt(fixture, [i, i])).flat();
    for (const key of keys) fixture.hold(0, key);
    settle(fixture);
    fixture.use({ count: 1, version: 2, splits: [] });
    expect(fixture.streams.isMoved).toBe(false);
    fixture.flush();
    expect(fixture.streams.isMoved).toBe(true);
    expect(fixture.knownTo(0, "a").size).toBe(120);
    fixture.streams.close(1);
    fixture.streams.close(2);
    fixture.hold(0, keys[0]!, false);
    fixture.flush();
    expect(fixture.knownTo(0, "a").size).toBe(119);
    expect(fixture.registry.render()).toContain("fairlead_kv_streams_open 2");
  });

  it("know in the end what they should, whatever happened meanwhile", () => {
    const path = fc.array(fc.nat(2), { minLength: 1, maxLength: 4 });
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ path, slot: fc.nat(1), isHeld: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ count: fc.integer({ min: 1, max: 4 }), split: path }) },
      { weight: 2, arbitrary: fc.record({ afterMs: fc.nat(MOVE_STAYS_MS) }) },
      { weight: 1, arbitrary: fc.record({ reconnects: fc.nat(3) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        nowMs = 1_000;
        const fixture = new Fixture();
        let version = 0;
        let count = 1;
        for (const each of steps) {
          if ("path" in each) {
            const key = prompt(fixture, each.path, each.path[0] !== 2).at(-1)!;
            fixture.hold(each.slot, key, each.isHeld);
          } else if ("count" in each) {
            const key = prompt(fixture, each.split).at(-1)!;
            count = each.count;
            fixture.use({ count, version: ++version, splits: [[...key, each.split.length]] });
          } else if ("reconnects" in each) {
            if (each.reconnects < count) fixture.connect(each.reconnects);
          } else {
            fixture.flush();
            nowMs += each.afterMs;
          }
          for (let shard = 0; shard < count; shard++) {
            fixture.flush();
            for (const endpoint of fixture.objects.get(shard)!.whole) {
              const known = fixture.knownTo(shard, endpoint);
              const missing = [...fixture.belonging(endpoint, shard)].filter((k) => !known.has(k));
              expect(missing).toEqual([]);
            }
          }
          // True, if perhaps of no interest.
          for (const [shard, { keys }] of fixture.objects) {
            if (shard >= count) continue;
            for (const [endpoint, known] of keys) {
              for (const key of known) expect(fixture.held.get(endpoint)?.has(key)).toBe(true);
            }
          }
        }
        settle(fixture);
        for (let shard = 0; shard < count; shard++) {
          expect(fixture.objects.get(shard)!.whole).toEqual(ENDPOINTS);
          for (const endpoint of ENDPOINTS) {
            const known = fixture.knownTo(shard, endpoint);
            for (const key of fixture.belonging(endpoint, shard)) expect(known).toContain(key);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});

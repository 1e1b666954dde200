import { describe, expect, it } from "vitest";
import type { KvMessage } from "../../../src/agents/protocol/messages.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { KV_FEED_LIMITS, KvFeeds } from "../../../src/durable/kv/kv-feeds.ts";
import {
  ResidentIndex,
  type ResidentIndexOptions,
} from "../../../src/scheduler/kv/resident-index.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { endpoint } from "../pool-client.ts";

class Fixture {
  readonly told: { agent: string; message: KvMessage }[] = [];
  readonly table = new EndpointTable();
  readonly deferred: (() => void)[] = [];
  readonly feeds: KvFeeds;
  readonly index: ResidentIndex;
  nowMs = 0;

  constructor(endpoints: number, limits: ResidentIndexOptions = {}) {
    for (let n = 0; n < endpoints; n++) this.table.add(endpoint(n));
    this.index = new ResidentIndex(limits);
    this.feeds = new KvFeeds({
      table: this.table,
      index: this.index,
      firstStream: 1,
      tell: (agent, message) => this.told.push({ agent, message }),
      clock: () => this.nowMs,
      silentAfterMs: () => 10_000,
      defer: (callback) => this.deferred.push(callback),
    });
  }

  offer(agent: string, numbers: readonly number[], isWhole = true): void {
    const offered = numbers.map(endpoint);
    this.feeds.offered(agent, {
      whole: isWhole ? offered : [],
      partial: isWhole ? [] : offered,
    });
  }

  /** Streams that an agent was asked for, in order. */
  asked(agent: string): { endpoint: string; stream: number }[] {
    return this.told.flatMap((each) =>
      each.agent === agent && each.message.t === "kv-send" ? each.message.streams : [],
    );
  }

  /** The agent says that an endpoint holds `key`. */
  complete(agent: string, stream: number, key = 1): void {
    const keys = Uint32Array.of(key, key);
    const section = { stream, seq: 0, begins: true, completes: true, keys };
    const sections = [{ ...section, onGpuCount: 1, belowCount: 0 }];
    this.feeds.received(agent, sections, { seq: 1, bytes: 10 });
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

describe("KvFeeds", () => {
  it("builds so many accounts at once, and the next when one is complete", () => {
    const fixture = new Fixture(KV_FEED_LIMITS.buildingMax + 10);
    fixture.offer("a", upTo(KV_FEED_LIMITS.buildingMax + 10));
    const asked = fixture.asked("a");
    expect(asked).toHaveLength(KV_FEED_LIMITS.buildingMax);
    const sizes = fixture.told.map(({ message }) =>
      message.t === "kv-send" ? message.streams.length : 0,
    );
    expect(Math.max(...sizes)).toBe(PROTOCOL_LIMITS.kvStreamsMax);
    fixture.complete("a", asked[0]!.stream);
    expect(fixture.asked("a")).toHaveLength(KV_FEED_LIMITS.buildingMax + 1);
  });

  it("waits for lanes that dead accounts still have", () => {
    const fixture = new Fixture(2, { lanesMax: 2 });
    fixture.offer("a", [0, 1]);
    for (const { stream } of fixture.asked("a")) fixture.complete("a", stream);
    fixture.feeds.endpointRestarted(0);
    expect(fixture.asked("a")).toHaveLength(2);
    for (const callback of fixture.deferred.splice(0)) callback();
    expect(fixture.asked("a")).toHaveLength(3);
  });

  it("shares endpoints out among collectors that know as much", () => {
    const fixture = new Fixture(6);
    fixture.offer("a", [0]);
    fixture.offer("b", upTo(6));
    fixture.offer("a", upTo(6));
    expect(fixture.asked("a")).toHaveLength(1);
    fixture.feeds.disconnected("b");
    fixture.offer("b", upTo(6));
    expect([fixture.asked("a").length, fixture.asked("b").length]).toEqual([6, 5]);
  });

  it("takes an account from whoever knows less, and says so", () => {
    const fixture = new Fixture(1);
    fixture.offer("a", [0], false);
    const [first] = fixture.asked("a");
    expect(fixture.feeds.knowledge(0)).toBe("none");
    fixture.complete("a", first!.stream);
    expect(fixture.feeds.knowledge(0)).toBe("partial");
    fixture.offer("b", [0]);
    expect(fixture.told.slice(-2)).toEqual([
      { agent: "a", message: { t: "kv-stop", streams: [first!.stream] } },
      { agent: "b", message: { t: "kv-send", streams: [{ endpoint: "default/e0", stream: 2 }] } },
    ]);
    // Its last word is not heard, though it may still come.
    fixture.complete("a", first!.stream, 2);
    expect([fixture.feeds.knowledge(0), fixture.feeds.knownBlocks(0)]).toEqual(["partial", 1]);
    fixture.complete("b", 2, 3);
    expect(fixture.feeds.knowledge(0)).toBe("exact");
  });

  it("asks anew where a collector calls an endpoint by another name", () => {
    const fixture = new Fixture(1);
    fixture.offer("a", [0]);
    const renamed = { ...endpoint(0), id: "default/renamed" };
    fixture.feeds.offered("a", { whole: [renamed], partial: [] });
    expect(fixture.asked("a").map(({ endpoint: id }) => id)).toEqual([
      "default/e0",
      "default/renamed",
    ]);
  });

  it("keeps answering with what was known of an endpoint that nobody tells of any more", () => {
    const fixture = new Fixture(1);
    fixture.offer("a", [0]);
    fixture.complete("a", fixture.asked("a")[0]!.stream);
    fixture.feeds.disconnected("a");
    expect([fixture.feeds.knowledge(0), fixture.feeds.knownBlocks(0)]).toEqual(["partial", 1]);
    fixture.feeds.endpointRemoved(0);
    expect([fixture.feeds.knowledge(0), fixture.feeds.isEmpty]).toEqual(["none", true]);
  });

  it("hears an endpoint from another collector when its own has fallen silent, and takes it back", () => {
    const fixture = new Fixture(1);
    fixture.offer("a", [0]);
    fixture.complete("a", fixture.asked("a")[0]!.stream);
    fixture.offer("b", [0]);
    fixture.nowMs += 10_000;
    fixture.feeds.heard("b");
    fixture.feeds.watch();
    expect([fixture.feeds.knowledge(0), fixture.asked("b").length]).toEqual(["exact", 0]);
    fixture.nowMs += KV_FEED_LIMITS.watchMs;
    fixture.feeds.watch();
    expect(fixture.feeds.knowledge(0)).toBe("partial");
    fixture.complete("b", fixture.asked("b")[0]!.stream, 2);
    expect(fixture.feeds.knowledge(0)).toBe("exact");
    // Nobody but the silent one is left.
    fixture.feeds.disconnected("b");
    fixture.complete("a", fixture.asked("a")[1]!.stream, 3);
    expect(fixture.feeds.knowledge(0)).toBe("partial");
    fixture.feeds.heard("a");
    expect(fixture.feeds.knowledge(0)).toBe("exact");
  });

  it("asks for an account again that lost blocks to the bytes, when they have room, ever more rarely", () => {
    const fixture = new Fixture(2, { bytesMax: 320_000 });
    fixture.offer("a", [0, 1]);
    const [first, second] = fixture.asked("a");
    const fill = (stream: number, from: number, count: number) => {
      const keys = Uint32Array.from({ length: count * 2 }, (_, i) =>
        Math.imul(from + (i >>> 1) + 1, i % 2 === 0 ? 0x9e37_79b1 : 0x85eb_ca6b),
      );
      const section = { stream, seq: 0, begins: true, completes: true, keys, belowCount: 0 };
      fixture.feeds.received("a", [{ ...section, onGpuCount: count }], { seq: 1, bytes: 1 });
    };
    const later = (ms: number) => {
      fixture.nowMs += ms;
      fixture.feeds.heard("a");
      fixture.feeds.watch();
    };
    fill(first!.stream, 0, 4_000);
    fill(second!.stream, 10_000, 11_000);
    expect(fixture.feeds.knowledge(0)).toBe("partial");
    later(KV_FEED_LIMITS.refillMsMin);
    // The other endpoint still takes all the room.
    expect(fixture.asked("a")).toHaveLength(2);
    fixture.feeds.endpointRemoved(1);
    for (const callback of fixture.deferred.splice(0)) callback();
    later(KV_FEED_LIMITS.watchMs);
    expect(fixture.asked("a")).toHaveLength(3);
    expect(fixture.feeds.counts.asks.shed).toBe(1);
    fill(fixture.asked("a")[2]!.stream, 0, 4_000);
    expect(fixture.feeds.knowledge(0)).toBe("exact");
    // One that does not fit by itself.
    fixture.feeds.endpointRestarted(0);
    for (let times = 0; times < 4; times++) {
      for (const callback of fixture.deferred.splice(0)) callback();
      fill(fixture.asked("a").at(-1)!.stream, 0, 20_000);
      later(KV_FEED_LIMITS.refillMsMax);
    }
    expect(fixture.feeds.counts.asks.shed).toBe(1);
  });
});

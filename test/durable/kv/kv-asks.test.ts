import { describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import type { KvMessage } from "../../../src/agents/protocol/messages.ts";
import { KvAsks } from "../../../src/durable/kv/kv-asks.ts";
import { type Feed, newFeed, newSender } from "../../../src/durable/kv/kv-feed.ts";
import { ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";
import { NO_LANE } from "../../../src/scheduler/kv/resident-lanes.ts";

function setUp(buildingMax: number, firstStream = 1) {
  const told: KvMessage[] = [];
  const index = new ResidentIndex();
  const tell = (_agent: string, message: KvMessage) => told.push(message);
  const asks = new KvAsks({ index, firstStream, tell, buildingMax });
  const sender = newSender("a", 0);
  const feeds = Array.from({ length: buildingMax + 2 }, (_, slot): Feed => {
    const feed = newFeed(slot, `10.0.0.${slot}:8000`);
    return Object.assign(feed, { sender, id: `e${slot}` });
  });
  for (const feed of feeds) asks.ask(feed, "offered");
  asks.pump();
  return { asks, feeds, told };
}

describe("KvAsks", () => {
  it("has so many accounts built at once, and the next when one is complete or is over", () => {
    const { asks, feeds } = setUp(3);
    expect(feeds.map((feed) => asks.isWaiting(feed))).toEqual([false, false, false, true, true]);
    expect(feeds.map(({ building }) => building === NO_LANE)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    asks.completed();
    asks.pump();
    expect(asks.isWaiting(feeds[3]!)).toBe(false);
    asks.end(feeds[1]!);
    asks.pump();
    expect(asks.isWaiting(feeds[4]!)).toBe(false);
    expect(asks.counts).toEqual({ offered: 5, gap: 0, restarted: 0, shed: 0 });
  });

  it("counts what is held back as built once", () => {
    const { asks, feeds } = setUp(1);
    asks.completed();
    asks.end(Object.assign(feeds[0]!, { isHeldBack: true }));
    asks.pump();
    expect(feeds.map((feed) => asks.isWaiting(feed))).toEqual([false, false, true]);
  });

  it("finds nobody by a stream that is over, and asks nobody who was to be asked and is not", () => {
    const { asks, feeds } = setUp(2);
    const { stream } = feeds[0]!;
    expect(asks.feedOf(stream)).toBe(feeds[0]);
    asks.end(feeds[0]!);
    asks.end(feeds[2]!);
    expect(asks.feedOf(stream)).toBeUndefined();
    asks.pump();
    expect([asks.isWaiting(feeds[2]!), asks.feedOf(feeds[3]!.stream)]).toEqual([false, feeds[3]]);
    expect(feeds[2]!.building).toBe(NO_LANE);
  });

  it("numbers streams on past the last number there is", () => {
    const { feeds } = setUp(3, 0xffff_fffe);
    expect(feeds.slice(0, 3).map(({ stream }) => stream)).toEqual([0xffff_fffe, 0xffff_ffff, 0]);
  });

  it("asks for no more in a message than it may", () => {
    const { told } = setUp(PROTOCOL_LIMITS.kvStreamsMax + 1);
    const sizes = told.map((message) => (message.t === "kv-send" ? message.streams.length : 0));
    expect(sizes).toEqual([PROTOCOL_LIMITS.kvStreamsMax, 1]);
  });
});

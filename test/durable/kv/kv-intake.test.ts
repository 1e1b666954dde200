import { describe, expect, it } from "vitest";
import type { KvSection } from "../../../src/agents/protocol/kv-frames.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { KV_FEED_LIMITS } from "../../../src/durable/kv/kv-feeds.ts";
import { KV_INTAKE_LIMITS, KvIntake } from "../../../src/durable/kv/kv-intake.ts";

const LIMITS = { sliceKeys: 10, waitingBytesMax: 1_000 };
const NO_OFFER = { whole: [], partial: [] };

/** Notes what gets to the feeds. */
class Fixture {
  readonly applied: string[] = [];
  readonly deferred: (() => void)[] = [];
  readonly intake = new KvIntake({
    feeds: {
      received: (agent, _sections, { seq }) => void this.applied.push(`${agent}${seq}`),
      offered: (agent) => void this.applied.push(`${agent} offers`),
      lost: (agent, seq) => void this.applied.push(`${agent} lost ${seq}`),
      disconnected: (agent) => void this.applied.push(`${agent} left`),
    },
    defer: (callback) => void this.deferred.push(callback),
    limits: LIMITS,
  });

  frame(agent: string, seq: number, keys: number, bytes = 100): void {
    const place = { stream: 1, seq, begins: false, completes: false };
    const held = { keys: new Uint32Array(keys * 2), onGpuCount: keys, belowCount: 0 };
    this.intake.received(agent, [{ ...place, ...held } satisfies KvSection], { seq, bytes });
  }

  /** What the next timer applies. */
  turn(): string[] {
    const before = this.applied.length;
    this.deferred.shift()?.();
    return this.applied.slice(before);
  }
}

describe("KvIntake", () => {
  it("applies at once what fits a slice, and the rest a slice a timer, in order", () => {
    const fixture = new Fixture();
    for (const seq of [1, 2, 3, 4, 5]) fixture.frame("a", seq, 4);
    expect(fixture.applied).toEqual(["a1", "a2"]);
    expect(fixture.deferred).toHaveLength(1);
    expect(fixture.turn()).toEqual(["a3", "a4"]);
    expect(fixture.turn()).toEqual(["a5"]);
    // The slice of the last timer still counts.
    fixture.frame("a", 6, 7);
    expect(fixture.applied).not.toContain("a6");
    expect(fixture.turn()).toEqual(["a6"]);
    fixture.turn();
    expect(fixture.deferred).toHaveLength(0);
  });

  it("applies a frame that is larger than a slice by itself", () => {
    const fixture = new Fixture();
    fixture.frame("a", 1, 25);
    fixture.frame("a", 2, 25);
    expect(fixture.applied).toEqual(["a1"]);
    expect(fixture.turn()).toEqual(["a2"]);
  });

  it("keeps what is offered behind the frames before it", () => {
    const fixture = new Fixture();
    fixture.frame("a", 1, 10);
    fixture.frame("a", 2, 10);
    fixture.intake.offered("a", NO_OFFER);
    fixture.frame("a", 3, 1);
    expect(fixture.applied).toEqual(["a1"]);
    expect(fixture.turn()).toEqual(["a2", "a offers"]);
    expect(fixture.turn()).toEqual(["a3"]);
  });

  it("forgets what waits of a collector that has lost frames or left, but for its last offer", () => {
    const fixture = new Fixture();
    fixture.frame("a", 1, 10);
    fixture.frame("a", 2, 10);
    fixture.intake.offered("a", NO_OFFER);
    fixture.frame("b", 1, 3);
    fixture.intake.lost("a", 9);
    expect(fixture.applied).toEqual(["a1", "a offers", "a lost 9"]);
    fixture.frame("a", 10, 3);
    fixture.intake.disconnected("a");
    expect(fixture.turn()).toEqual(["b1"]);
    expect(fixture.applied).not.toContain("a10");
  });

  it("holds no more bytes than its bound", () => {
    const fixture = new Fixture();
    fixture.frame("a", 0, 10);
    for (let seq = 1; seq <= 10; seq++) fixture.frame("a", seq, 10);
    expect(fixture.applied).toEqual(["a0"]);
    fixture.frame("a", 11, 10, 101);
    expect(fixture.applied).toEqual(["a0", "a1", "a2"]);
  });

  it("takes a full frame at a time, and the windows of several collectors", () => {
    expect(KV_INTAKE_LIMITS.sliceKeys).toBe(PROTOCOL_LIMITS.kvFrameKeysMax);
    expect(KV_INTAKE_LIMITS.waitingBytesMax).toBe(8 * KV_FEED_LIMITS.windowBytes);
  });
});
